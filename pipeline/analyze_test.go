package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/pipeline/demo"
)

// recorded writes a generated run into a capture.
func recorded(t *testing.T, cfg generator.Config) (*generator.Generator, string) {
	t.Helper()
	g, err := generator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "exports.pcap")
	w, err := capture.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background(), generator.SinkFunc(w.Write)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return g, path
}

// TestAnalyzeFindsTheTruth plays six hours with every attack, at several
// seeds: each must be found, and nothing else be alerted.
func TestAnalyzeFindsTheTruth(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			gen := generator.DefaultConfig()
			gen.Seed = seed
			g, path := recorded(t, gen)
			cfg := pipeline.DefaultConfig()
			if err := demo.WriteWorld(t.TempDir(), gen.Start, &cfg.Enricher); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			s, err := pipeline.Analyze(t.Context(), cfg, []string{path}, pipeline.AnalyzeOptions{Format: pipeline.AnalyzeJSON, Out: &out, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if stats := g.Stats(); s.Records != int64(stats.Records) || s.Datagrams != int64(stats.Datagrams) || s.Rejected+s.Refused+s.Skipped > 0 {
				t.Errorf("counts (-got, +want)\n- %+v\n+ %d datagrams, %d records", s, stats.Datagrams, stats.Records)
			}
			v := demo.NewVerdict(g.Truth())
			for line := range bytes.Lines(out.Bytes()) {
				a, err := pipeline.ParseAlert(line)
				if err != nil {
					t.Fatal(err)
				}
				v.Add(a)
			}
			for _, row := range v.Rows() {
				if !row.Found() {
					t.Errorf("missed %s of %s: entities %v", row.Rule, row.Scenario, row.Missing())
				}
			}
			for _, a := range v.Unexpected() {
				t.Errorf("unexpected %s of %s (%s): %s", a.Rule.ID, a.Weir.Alert.Entity, a.Weir.Alert.Severity, a.Event.Reason)
			}
		})
	}
}
