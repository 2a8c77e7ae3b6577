package pipeline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/internal/capture"
)

// AnalyzeFormat is how Analyze prints.
type AnalyzeFormat string

// The formats.
const (
	AnalyzeTable AnalyzeFormat = "table" // alerts for people
	AnalyzeJSON  AnalyzeFormat = "json"  // every revision of every alert, as NDJSON
	AnalyzeFlows AnalyzeFormat = "flows" // the records as the collector decodes them, as NDJSON
)

// AnalyzeOptions of Analyze.
type AnalyzeOptions struct {
	Format AnalyzeFormat
	Out    io.Writer
	Log    *slog.Logger
}

// AnalyzeSummary counts what Analyze saw.
type AnalyzeSummary struct {
	Datagrams, Skipped int64 // of the files; skipped packets carry no UDP
	Rejected           int64 // datagrams or parts of them that could not be decoded
	Records, Enriched  int64
	Refused            int64 // records that a stage could not apply
	Alerts             int64 // opened
}

// Analyze takes recorded export datagrams through decoder, enricher and
// detector in this process, and prints the alerts, or the flows. Nothing else
// is needed. Files are read one after the other; stream time is the export
// time.
func Analyze(ctx context.Context, cfg Config, files []string, o AnalyzeOptions) (AnalyzeSummary, error) {
	a := &analysis{o: o, out: bufio.NewWriter(o.Out)}
	deps := collector.OfflineDependencies{Log: o.Log, Reject: a.reject}
	if o.Format == AnalyzeFlows {
		deps.Print = a.out
	} else {
		local, err := NewLocal(cfg, o.Log, nil, LocalOutputs{Enriched: a.enriched, Alert: a.alert, Refused: a.refused})
		if err != nil {
			return a.summary, err
		}
		deps.Partitions = 1
		deps.Out = func(_ int32, key, value []byte) bool {
			if key != nil {
				a.summary.Records++
			}
			// The stages keep what they are given for a while.
			err := local.Push(slices.Clone(key), slices.Clone(value))
			if err != nil && a.err == nil {
				a.err = err
			}
			return err == nil
		}
	}
	offline, err := collector.NewOffline(cfg.Collector, deps)
	if err != nil {
		return a.summary, err
	}
	for _, f := range files {
		if err := a.file(ctx, f, offline); err != nil {
			return a.summary, errors.Join(err, a.out.Flush())
		}
	}
	if err := errors.Join(offline.Close(), a.err); err != nil {
		return a.summary, err
	}
	if o.Format == AnalyzeTable {
		if err := a.table(); err != nil {
			return a.summary, err
		}
	}
	return a.summary, a.out.Flush()
}

// analysis is one run of Analyze.
type analysis struct {
	o       AnalyzeOptions
	out     *bufio.Writer
	summary AnalyzeSummary
	alerts  []*AlertView
	err     error
}

func (a *analysis) file(ctx context.Context, path string, offline *collector.Offline) error {
	r, err := capture.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	for ctx.Err() == nil && a.err == nil {
		d, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// What was whole has been analysed; the rest is told.
			a.o.Log.Error("the file ends early", "file", path, "error", err)
			break
		}
		a.summary.Datagrams++
		offline.Datagram(d)
	}
	a.summary.Skipped += int64(r.Skipped())
	return errors.Join(ctx.Err(), a.err)
}

func (a *analysis) reject(e *decode.Error) {
	a.summary.Rejected++
	a.o.Log.Warn("cannot be decoded", "error", e)
}

func (a *analysis) enriched([]byte) error {
	a.summary.Enriched++
	return nil
}

func (a *analysis) refused(_ []byte, reason string) error {
	a.summary.Refused++
	a.o.Log.Warn("a record was refused", "reason", reason)
	return nil
}

func (a *analysis) alert(value []byte) error {
	v, err := ParseAlert(value)
	if err != nil {
		return err
	}
	if v.Opened() {
		a.summary.Alerts++
	}
	if a.o.Format == AnalyzeJSON {
		_, err := a.out.Write(append(value, '\n'))
		return err
	}
	a.alerts = append(a.alerts, v)
	return nil
}

// table prints an alert a line, in its last revision; one that was reopened
// has a line for each time.
func (a *analysis) table() error {
	last := map[string]int{}
	var rows []*AlertView
	for _, v := range a.alerts {
		if i, ok := last[v.Event.ID]; ok && v.Weir.Alert.State != detector.StateReopened {
			first := rows[i].Timestamp
			rows[i] = v
			rows[i].Timestamp = first // when it was opened
			continue
		}
		last[v.Event.ID] = len(rows)
		rows = append(rows, v)
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "no alerts")
		return nil
	}
	slices.SortStableFunc(rows, func(x, y *AlertView) int { return x.Timestamp.Compare(y.Timestamp) })
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "OPENED (UTC)\tSEVERITY\tRULE\tENTITY\tWHAT")
	for _, v := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Timestamp.UTC().Format(time.DateTime), v.Weir.Alert.Severity, v.Rule.ID, v.Weir.Alert.Entity, v.Event.Reason)
	}
	return w.Flush()
}

// AlertView is what people are shown of an alert document.
type AlertView struct {
	Timestamp time.Time `json:"@timestamp"`
	Message   string    `json:"message"`
	Event     struct {
		ID       string `json:"id"`
		Kind     string `json:"kind"`
		Severity int    `json:"severity"`
		Reason   string `json:"reason"`
	} `json:"event"`
	Rule struct {
		ID string `json:"id"`
	} `json:"rule"`
	Weir struct {
		Alert struct {
			State    string `json:"state"`
			Revision int64  `json:"revision"`
			Entity   string `json:"entity"`
			Severity string `json:"severity"`
		} `json:"alert"`
	} `json:"weir"`
}

// ParseAlert reads an alert document.
func ParseAlert(b []byte) (*AlertView, error) {
	v := &AlertView{}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("alert document: %w", err)
	}
	return v, nil
}

// Opened tells the first revision from the others.
func (v *AlertView) Opened() bool { return v.Weir.Alert.Revision == 1 }
