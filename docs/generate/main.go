// Command generate writes the reference pages of docs/ from the code:
// configuration.md from the configuration structs and their comments,
// metrics.md from the metrics that the services register, README.md from the
// pages there are. A test fails when they are stale.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run .

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes every page, from anywhere inside the repository.
func run() error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	pages, err := generate(root)
	if err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the pages by their path in the repository.
func generate(root string) (map[string][]byte, error) {
	configuration, err := configurationPage(root)
	if err != nil {
		return nil, err
	}
	metrics, err := metricsPage()
	if err != nil {
		return nil, err
	}
	index, err := indexPage(root)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"docs/README.md":        index,
		"docs/configuration.md": configuration,
		"docs/metrics.md":       metrics,
	}, nil
}

func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it inside the repository")
		}
		dir = filepath.Dir(dir)
	}
}
