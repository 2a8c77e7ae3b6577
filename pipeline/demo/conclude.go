package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-flow/weir/internal/elastic"
)

// conclude prints what was found, whether the counts add up, and where to look
// further.
func (d *run) conclude(ctx context.Context, failed <-chan error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.screen.close()
	out := d.o.Out
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ATTACK\tRULE\tENTITIES FOUND\tSEVERITY\tFIRST ALERT AFTER")
	for _, r := range d.verdict.Rows() {
		after := "-"
		if !r.First.IsZero() {
			after = r.First.Sub(r.Start).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", r.Scenario, r.Rule, r.FoundCount(), len(r.Expected), severity(r.Severity), after)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	for _, r := range d.verdict.Rows() {
		if !r.Found() {
			fmt.Fprintf(out, "missed: %s for %v\n", r.Rule, r.Missing())
		}
	}
	for _, a := range d.verdict.Unexpected() {
		fmt.Fprintf(out, "not in the truth: %s of %s: %s\n", a.Rule.ID, a.Weir.Alert.Entity, a.Event.Reason)
	}
	addsUp := d.ledger(ctx)
	d.pointers()
	fmt.Fprintf(out, "\nplayed in %.1fs, all done after %.1fs, first alert in Kafka after %.1fs", d.played.Seconds(), d.taken.Seconds(), d.firstAlert.Seconds())
	if d.firstIndexed > 0 {
		fmt.Fprintf(out, ", in Elasticsearch after %.1fs", d.firstIndexed.Seconds())
	}
	fmt.Fprintln(out)
	if !d.o.Once {
		fmt.Fprintln(out, "servers stay up until you press Ctrl-C")
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	}
	if !d.verdict.Found() || len(d.verdict.Unexpected()) > 0 {
		return ErrVerdict
	}
	return addsUp
}

func severity(n int) string {
	switch {
	case n >= 99:
		return "critical"
	case n >= 73:
		return "high"
	case n >= 47:
		return "medium"
	case n > 0:
		return "low"
	}
	return "-"
}

// ledger prints what came in and what came out of each stage, and returns an
// error when they do not agree.
func (d *run) ledger(ctx context.Context) error {
	generated, c := int64(d.gen.Stats().Records), d.counts()
	var errs []error
	line := func(what string, got int64, of string, want int64) {
		mark := "="
		if got != want {
			mark = "is not"
			errs = append(errs, fmt.Errorf("%s: %d, %s: %d", what, got, of, want))
		}
		fmt.Fprintf(d.o.Out, "  %-44s %9d  %s %s\n", what, got, mark, of)
	}
	fmt.Fprintln(d.o.Out)
	line("records generated", generated, "collected + counted losses", c.collected+c.lost)
	line("records collected", c.collected, "applied by the enricher + refused", c.members+c.refused)
	line("flows enriched", c.enriched, "through the rules", c.detected)
	if d.servers.elastic == "" {
		return errors.Join(errs...)
	}
	client, err := elastic.New(d.cfg.Elasticsearch)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Do(ctx, http.MethodPost, "/logs-weir.*-"+d.cfg.Elasticsearch.Namespace+"/_refresh", nil, nil); err != nil {
		return err
	}
	flows, err := d.count(ctx, client, "flow", "")
	alerts, err2 := d.count(ctx, client, "alert", "")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	line("flow documents in Elasticsearch", flows, "flows enriched", c.enriched)
	line("alert documents in Elasticsearch", alerts, "alert records in Kafka", int64(d.alerts))
	return errors.Join(errs...)
}

// pointers prints queries to go on with.
func (d *run) pointers() {
	if d.servers.elastic == "" {
		return
	}
	url, ns := d.servers.elastic, d.cfg.Elasticsearch.Namespace
	state := ""
	if d.o.Once {
		state = " (run without --once to keep the servers)"
	}
	fmt.Fprintf(d.o.Out, "\nlook further%s:\n", state)
	for _, q := range []string{
		"logs-weir.alert-" + ns + "/_search?q=event.kind:alert&sort=@timestamp&_source=@timestamp,rule.id,weir.alert.entity,event.reason",
		"logs-weir.flow-" + ns + "/_search?q=destination.port:445+AND+weir.state:syn_only&size=5",
		"logs-weir.flow-" + ns + "/_search?q=destination.port:25+AND+network.direction:outbound&size=5&_source=source.ip,destination.ip,destination.as,network.bytes",
	} {
		fmt.Fprintf(d.o.Out, "  curl -s '%s/%s'\n", strings.TrimRight(url, "/"), q)
	}
	fmt.Fprintf(d.o.Out, "  weir tap alerts --set kafka.brokers=[%s] --set kafka.topic_prefix=%s\n", d.servers.brokers[0], d.cfg.Kafka.TopicPrefix)
}
