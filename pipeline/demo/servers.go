package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sync/errgroup"

	"github.com/weir-flow/weir/internal/testbed"
)

// servers are what the demonstration runs on.
type servers struct {
	brokers []string
	elastic string // URL; empty: none
	notes   []string
	closers []func() error
}

// close stops what was started, in reverse order.
func (s *servers) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

// bring takes the servers that were named, and starts what is missing: real
// ones where a JDK and Maven are, otherwise a broker in this process.
func bring(ctx context.Context, o Options, log *slog.Logger, progress func(string)) (*servers, error) {
	s := &servers{brokers: o.Brokers, elastic: o.Elasticsearch}
	if len(s.brokers) > 0 && s.elastic != "" {
		return s, nil
	}
	bed := testbed.Options{Log: log, Progress: progress}
	var missing *testbed.PrerequisiteError
	if err := testbed.Available(ctx, bed); errors.As(err, &missing) {
		return s, s.embedded(missing)
	} else if err != nil {
		return nil, err
	}
	var kafka *testbed.Kafka
	var elasticsearch *testbed.Elasticsearch
	var g errgroup.Group
	if len(s.brokers) == 0 {
		g.Go(func() (err error) {
			kafka, err = testbed.StartKafka(ctx, bed)
			return err
		})
	}
	if s.elastic == "" {
		g.Go(func() (err error) {
			elasticsearch, err = testbed.StartElasticsearch(ctx, bed)
			return err
		})
	}
	err := g.Wait()
	if kafka != nil {
		s.brokers = kafka.Brokers()
		s.notes = append(s.notes, "Apache Kafka at "+s.brokers[0])
		s.closers = append(s.closers, kafka.Close)
	}
	if elasticsearch != nil {
		s.elastic = elasticsearch.URL()
		s.notes = append(s.notes, "Elasticsearch at "+s.elastic)
		s.closers = append(s.closers, elasticsearch.Close)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// embedded makes do without a JDK: a broker in this process, and no
// Elasticsearch.
func (s *servers) embedded(missing *testbed.PrerequisiteError) error {
	if len(s.brokers) == 0 {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return fmt.Errorf("broker in this process: %w", err)
		}
		s.brokers = cluster.ListenAddrs()
		s.closers = append(s.closers, func() error { cluster.Close(); return nil })
		s.notes = append(s.notes, "a broker in this process, for want of a real Kafka")
	}
	if s.elastic == "" {
		s.notes = append(s.notes, "no Elasticsearch: flows and alerts stay in Kafka")
	}
	s.notes = append(s.notes, "for real servers: "+missing.Error())
	return nil
}

// workDir makes a directory for what the demonstration writes.
func workDir() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("working directory: %w", err)
	}
	return filepath.Clean(dir), func() error { return os.RemoveAll(dir) }, nil
}
