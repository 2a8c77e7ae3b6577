package testbed

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// minJava is what both servers ask for.
const minJava = 17

const remedy = "apt-get install openjdk-17-jdk-headless maven"

// java is a Java runtime.
type java struct {
	bin  string // the java executable
	home string // its JAVA_HOME
}

// findJava returns the runtime in JAVA_HOME, or else the one in PATH.
func findJava(ctx context.Context) (java, error) {
	bin := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		bin = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		return java{}, &PrerequisiteError{fmt.Sprintf("local servers need Java %d or newer, and there is none (%v)", minJava, err), remedy}
	}
	out, err := exec.CommandContext(ctx, path, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return java{}, ctx.Err()
		}
		return java{}, &PrerequisiteError{fmt.Sprintf("local servers need Java %d or newer, and %s does not run (%v)", minJava, path, err), remedy}
	}
	j, version, err := parseJava(path, out)
	if err != nil {
		return java{}, err
	}
	if version < minJava {
		return java{}, &PrerequisiteError{fmt.Sprintf("local servers need Java %d or newer, and %s is Java %d", minJava, path, version), remedy}
	}
	return j, nil
}

// parseJava reads the output of java -XshowSettings:properties.
func parseJava(path string, out []byte) (j java, version int, err error) {
	j.bin = path
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "java.home":
			j.home = value
		case "java.specification.version":
			// Java 8 and older call themselves 1.8 and so on.
			version, err = strconv.Atoi(strings.TrimPrefix(value, "1."))
		}
	}
	if err != nil || version == 0 || j.home == "" {
		return java{}, 0, fmt.Errorf("%s does not tell its version and home; set JAVA_HOME to a Java %d or newer", path, minJava)
	}
	return j, version, nil
}

// findMaven returns the mvn executable, which is needed only until the
// servers are in the cache.
func findMaven() (string, error) {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", &PrerequisiteError{"Maven fetches the local servers the first time, and mvn is not in PATH", remedy}
	}
	return mvn, nil
}
