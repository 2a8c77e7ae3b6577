// Package deploy_test holds the files here to what they stand for: without
// the servers they describe, but with the real parser and the real binary.
package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/pipeline"
)

// passwords are what deploy/.env sets.
var passwords = []string{"ELASTIC_PASSWORD=e1", "KIBANA_PASSWORD=k2", "INDEXER_PASSWORD=i3"}

func load(t *testing.T, env ...string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"compose.yaml"},
		cli.WithEnv(env), cli.WithProfiles([]string{"*"}), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(t.Context())
}

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t, passwords...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeHasEveryService(t *testing.T) {
	p := project(t)
	got := p.ServiceNames()
	slices.Sort(got)
	want := []string{"collector", "detector", "elasticsearch", "elasticsearch-users", "enricher", "generator", "indexer", "kafka", "kibana", "setup"}
	if !slices.Equal(got, want) {
		t.Errorf("services (-got, +want)\n- %q\n+ %q", got, want)
	}
	var demo []string
	for name, s := range p.Services {
		if len(s.Profiles) > 0 {
			demo = append(demo, name+" "+strings.Join(s.Profiles, " "))
		}
	}
	if want := []string{"generator demo"}; !slices.Equal(demo, want) {
		t.Errorf("services of profiles (-got, +want)\n- %q\n+ %q", demo, want)
	}
}

// A password that is not set must stop `up`, not become an empty one.
func TestComposeAsksForPasswords(t *testing.T) {
	for i, missing := range passwords {
		name, _, _ := strings.Cut(missing, "=")
		_, err := load(t, slices.Delete(slices.Clone(passwords), i, i+1)...)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error (-got, +want)\n- %v\n+ one that names it", name, err)
		}
	}
	example, err := os.ReadFile("env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range passwords {
		name, _, _ := strings.Cut(p, "=")
		if !strings.Contains(string(example), "\n"+name+"=\n") {
			t.Errorf("env.example does not ask for %s", name)
		}
	}
}

// Whoever is waited for as healthy can say that it is, whoever is waited for
// to end does, and whoever runs on is checked.
func TestComposeHealth(t *testing.T) {
	p := project(t)
	checked := func(s types.ServiceConfig) bool {
		return s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) > 1
	}
	for name, s := range p.Services {
		if s.Restart == "unless-stopped" && !checked(s) && name != "generator" {
			t.Errorf("%s runs on, without a health check", name)
		}
		for on, d := range s.DependsOn {
			dependency, ok := p.Services[on]
			switch {
			case !ok:
				t.Errorf("%s depends on %s, which is not there", name, on)
			case d.Condition == types.ServiceConditionHealthy && !checked(dependency):
				t.Errorf("%s waits for %s to be healthy, which it never says", name, on)
			case d.Condition == types.ServiceConditionCompletedSuccessfully && dependency.Restart != "on-failure":
				t.Errorf("%s waits for %s to end, whose restart is %q", name, on, dependency.Restart)
			}
		}
		for _, v := range s.Volumes {
			if _, ok := p.Volumes[v.Source]; v.Type != types.VolumeTypeVolume || !ok {
				t.Errorf("%s: volume %s is none of the named ones", name, v.Source)
			}
		}
	}
	for name, path := range map[string]string{
		"kafka": "/var/lib/kafka/data", "elasticsearch": "/usr/share/elasticsearch/data", "collector": "/var/lib/weir",
	} {
		if v := p.Services[name].Volumes; len(v) != 1 || v[0].Target != path {
			t.Errorf("%s: volumes (-got, +want)\n- %v\n+ one at %s", name, v, path)
		}
	}
}

// Only the flow ports may be reachable from other machines.
func TestComposePorts(t *testing.T) {
	var open, local []string
	for name, s := range project(t).Services {
		for _, port := range s.Ports {
			text := name + " " + port.Published + "/" + port.Protocol
			if port.HostIP == "127.0.0.1" {
				local = append(local, text)
			} else {
				open = append(open, text)
			}
		}
	}
	slices.Sort(open)
	slices.Sort(local)
	if want := []string{"collector 2055/udp", "collector 4739/udp"}; !slices.Equal(open, want) {
		t.Errorf("open ports (-got, +want)\n- %q\n+ %q", open, want)
	}
	if want := []string{"elasticsearch 9200/tcp", "kafka 29092/tcp", "kibana 5601/tcp"}; !slices.Equal(local, want) {
		t.Errorf("local ports (-got, +want)\n- %q\n+ %q", local, want)
	}
}

// build returns the binary as the image has it.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "weir")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// Every command line of ours is one that the binary takes.
func TestCommandsAreReal(t *testing.T) {
	bin := build(t)
	real := func(where string, line ...string) {
		t.Helper()
		// --help parses the command line, checks the flags and does nothing.
		cmd := exec.CommandContext(t.Context(), bin, append(slices.Clone(line), "--help")...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "weir "+line[0]) {
			t.Errorf("%s: weir %s: %v\n%s", where, strings.Join(line, " "), err, out)
		}
	}
	for name, s := range project(t).Services {
		if !strings.HasPrefix(s.Image, "weir:") {
			continue
		}
		if len(s.Command) == 0 {
			t.Errorf("%s has no command", name)
			continue
		}
		real(name, s.Command...)
		if !s.HealthCheck.Disable {
			if test := s.HealthCheck.Test; test[0] != "CMD" || test[1] != "/weir" {
				t.Errorf("%s: health check %q is not the binary's own", name, test)
			} else {
				real(name+" health", test[2:]...)
			}
		}
	}
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("no systemd units: %v", err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			key, command, _ := strings.Cut(strings.TrimSpace(line), "=")
			if strings.HasPrefix(key, "Exec") {
				fields := strings.Fields(strings.ReplaceAll(command, "%i", "collector"))
				if fields[0] != "/usr/bin/weir" {
					t.Errorf("%s: %s runs %s", unit, key, fields[0])
				}
				real(unit, fields[1:]...) // the template's instance is a subcommand
			}
		}
	}
}

// Every key that the services get is one of the configuration, with a value
// that it takes.
func TestComposeConfiguration(t *testing.T) {
	for name, s := range project(t).Services {
		if !strings.HasPrefix(s.Image, "weir:") {
			continue
		}
		var environ []string
		for key, value := range s.Environment {
			if value == nil {
				t.Errorf("%s: %s takes its value from the host", name, key)
				continue
			}
			// Stands in for the file of the secret, which is not here.
			if secret, ok := strings.CutPrefix(*value, "${file:/run/secrets/"); ok {
				if !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return c.Source+"}" == secret }) {
					t.Errorf("%s: %s reads secret %s, which it is not given", name, key, secret)
				}
				stand := "stand-in"
				value = &stand
			}
			environ = append(environ, key+"="+*value)
		}
		l, err := config.Load(pipeline.DefaultConfig(), config.Source{Environ: environ})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range l.Warnings {
			t.Errorf("%s: %s", name, w)
		}
	}
}
