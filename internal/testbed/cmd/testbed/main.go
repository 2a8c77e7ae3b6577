// Command testbed starts one Kafka and one Elasticsearch, tells a command
// where they are, and stops them when it ends:
//
//	go run ./internal/testbed/cmd/testbed -- go test ./...
//
// Its exit status is the command's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-flow/weir/internal/testbed"
)

func main() {
	dir := flag.String("dir", "", "directory to keep the servers' data in (default: temporary)")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: testbed [-dir DIR] -- COMMAND [ARG...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(*dir, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// run returns the exit status of the command.
func run(dir string, command []string) (status int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	begin := time.Now()
	say := func(s string) { fmt.Fprintln(os.Stderr, "testbed:", s) }
	options := testbed.Options{Progress: say}
	sub := func(name string) testbed.Options {
		o := options
		if dir != "" {
			o.Dir = dir + "/" + name
		}
		return o
	}
	var kafka *testbed.Kafka
	var elasticsearch *testbed.Elasticsearch
	// Not a group with a shared context: a server that did start is closed
	// below either way, and both errors are worth reading.
	var starts errgroup.Group
	var kafkaErr, elasticsearchErr error
	starts.Go(func() error { kafka, kafkaErr = testbed.StartKafka(ctx, sub("kafka")); return nil })
	starts.Go(func() error {
		elasticsearch, elasticsearchErr = testbed.StartElasticsearch(ctx, sub("elasticsearch"))
		return nil
	})
	_ = starts.Wait()
	defer func() {
		if kafka != nil {
			err = errors.Join(err, kafka.Close())
		}
	}()
	defer func() {
		if elasticsearch != nil {
			err = errors.Join(err, elasticsearch.Close())
		}
	}()
	if err := errors.Join(kafkaErr, elasticsearchErr); err != nil {
		return 1, err
	}
	brokers := strings.Join(kafka.Brokers(), ",")
	say(fmt.Sprintf("Kafka at %s, Elasticsearch at %s (ready in %s)", brokers, elasticsearch.URL(), time.Since(begin).Round(100*time.Millisecond)))

	// An interrupt of the terminal reaches the command as well as us; a
	// SIGTERM reaches us alone, and is passed on.
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		testbed.EnvKafka+"="+brokers,
		testbed.EnvElasticsearch+"="+elasticsearch.URL())
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // it has said why
	}
	return 0, err
}
