package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/elastic"
)

// CheckFiles reads every file that the configuration names. Errors begin with
// the path of the key.
func CheckFiles(c Config) error {
	return readable(c)
}

// readable opens what keys called file, files or something_file name.
func readable(c Config) error {
	var errs []error
	for _, f := range config.Fields(c) {
		name := f.Path[strings.LastIndexByte(f.Path, '.')+1:]
		if !f.Default.IsValid() || !strings.HasSuffix(name, "file") && !strings.HasSuffix(name, "files") {
			continue
		}
		switch f.Default.Kind() {
		case reflect.String:
			errs = append(errs, openable(f.Path, f.Default.String()))
		case reflect.Slice:
			for i := range f.Default.Len() {
				if item := f.Default.Index(i); item.Kind() == reflect.String {
					errs = append(errs, openable(fmt.Sprintf("%s[%d]", f.Path, i), item.String()))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func openable(path, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// serverTimeout bounds how long CheckServers waits for each of them.
const serverTimeout = 10 * time.Second

// CheckServers connects to every server that the configuration names and asks
// whether Weir may use it.
func CheckServers(ctx context.Context, c Config) error {
	return checkElasticsearch(ctx, c.Elasticsearch)
}

func checkElasticsearch(ctx context.Context, c elastic.Config) error {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	client, err := elastic.New(c)
	if err != nil {
		return err
	}
	defer client.Close()
	// Health needs the monitor privilege, which setup gives; a reduced server
	// has no GET /.
	var health struct {
		Status string `json:"status"`
	}
	if err := client.Do(ctx, http.MethodGet, "/_cluster/health", nil, &health); err != nil {
		return err
	}
	if health.Status == "red" {
		return errors.New("elasticsearch: the cluster's health is red: some data cannot be reached")
	}
	return nil
}
