// Package enricher joins the flow records of a conversation, tells who began
// it, and adds what is known of both ends. docs/enricher.md says how.
package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/enricher/asset"
	"github.com/weir-flow/weir/enricher/geo"
	"github.com/weir-flow/weir/enricher/intel"
	"github.com/weir-flow/weir/enricher/service"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
)

// staleAfter is the age at which a geo database is warned of: places move.
const staleAfter = 45 * 24 * time.Hour

// Dependencies of the enricher.
type Dependencies struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Enricher holds the lookups that all its processors share. As a component it
// keeps them up to date with their files.
type Enricher struct {
	log     *slog.Logger
	metrics *metrics

	hold, idle                int64 // ms
	wait                      bool
	maxHeld, maxConversations int // per key group

	services *service.Table
	lookups  atomic.Pointer[lookups]
	sources  []*source
	interval time.Duration

	stop context.CancelFunc
	done chan struct{}
}

// lookups are the side inputs, replaced as a whole.
type lookups struct {
	internal *bart.Lite
	geo      geo.Databases
	assets   *asset.Table
	intel    *intel.Set
}

// source is a side input: files, and how to read them.
type source struct {
	kind  string
	files []string
	stamp string
	// load returns a change to the lookups, or why there is none.
	load func() (func(*lookups), error)
}

// New returns an enricher whose lookups are loaded. A file that cannot be
// used is an error that names it and the remedy.
func New(cfg Config, deps Dependencies) (*Enricher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("enricher: %w", err)
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("enricher: metrics: %w", err)
	}
	services, err := service.New()
	if err != nil {
		return nil, fmt.Errorf("enricher: %w", err)
	}
	e := &Enricher{
		log: deps.Log, metrics: m, services: services, interval: cfg.ReloadInterval,
		hold: cfg.StitchHold.Milliseconds(), idle: cfg.IdleTimeout.Milliseconds(), wait: cfg.WaitForDuplicates,
		maxHeld: cfg.MaxHeld / kafka.Groups, maxConversations: cfg.MaxConnections / kafka.Groups,
	}
	internal := &bart.Lite{}
	for _, p := range cfg.InternalNetworks {
		internal.Insert(p.Masked())
	}
	l := &lookups{internal: internal, geo: make(geo.Databases, len(cfg.Geo.Databases))}
	for i, file := range cfg.Geo.Databases {
		e.sources = append(e.sources, &source{kind: "geo", files: []string{file}, load: func() (func(*lookups), error) {
			return e.loadGeo(i, file)
		}})
	}
	e.sources = append(e.sources,
		&source{kind: "assets", files: cfg.Assets.Files, load: func() (func(*lookups), error) {
			return e.loadAssets(cfg.Assets.Files)
		}},
		&source{kind: "intel", files: intelFiles(cfg.Intel.Feeds), load: func() (func(*lookups), error) {
			return e.loadIntel(cfg.Intel.Feeds, internal)
		}})
	var errs []error
	for _, s := range e.sources {
		s.stamp = stamp(s.files)
		change, err := s.load()
		if err != nil {
			errs = append(errs, fmt.Errorf("enricher: %w", err))
			continue
		}
		change(l)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	e.lookups.Store(l)
	return e, nil
}

func intelFiles(feeds []intel.Feed) (files []string) {
	for _, f := range feeds {
		files = append(files, f.File)
	}
	return files
}

// NewProcessor returns the logic of one task. It implements stream.Processor.
func (e *Enricher) NewProcessor() stream.Processor {
	return &processor{e: e, realms: map[string]string{}}
}

// Name implements lifecycle.Component.
func (e *Enricher) Name() string { return "enricher lookups" }

// Start implements lifecycle.Component: it watches the files.
func (e *Enricher) Start(context.Context, func(error)) error {
	ctx, stop := context.WithCancel(context.Background())
	e.stop, e.done = stop, make(chan struct{})
	go func() {
		defer close(e.done)
		tick := time.NewTicker(e.interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				e.Reload()
			}
		}
	}()
	return nil
}

// Stop implements lifecycle.Component.
func (e *Enricher) Stop(ctx context.Context) error {
	if e.stop == nil {
		return nil
	}
	e.stop()
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reload reads again the files that changed since they were last read. What
// cannot be used is reported and what was there stays; it is not tried again
// before it changes once more. Start calls it at the configured interval; it
// must not be called twice at a time.
func (e *Enricher) Reload() {
	for _, s := range e.sources {
		now := stamp(s.files)
		if now == s.stamp {
			continue
		}
		s.stamp = now
		change, err := s.load()
		if err != nil {
			e.metrics.reloads.WithLabelValues(s.kind, "refused").Inc()
			e.log.Error("changed file refused, the old content stays", "kind", s.kind, "error", err)
			continue
		}
		l := *e.lookups.Load()
		l.geo = append(geo.Databases(nil), l.geo...)
		change(&l)
		e.lookups.Store(&l)
		e.metrics.reloads.WithLabelValues(s.kind, "done").Inc()
		e.log.Info("changed file taken over", "kind", s.kind, "files", s.files)
	}
}

// stamp tells one version of files from another.
func stamp(files []string) string {
	var s []byte
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			s = append(s, "?\n"...)
			continue
		}
		s = fmt.Appendf(s, "%d %d\n", info.ModTime().UnixNano(), info.Size())
	}
	return string(s)
}

func (e *Enricher) loadGeo(i int, file string) (func(*lookups), error) {
	d, err := geo.Open(file)
	if err != nil {
		return nil, err
	}
	e.metrics.geoBuilt.WithLabelValues(file).Set(float64(d.Built().Unix()))
	e.log.Info("geo database loaded", "file", file, "type", d.Type(), "built", d.Built().UTC().Format(time.DateOnly))
	if age := time.Since(d.Built()); age > staleAfter {
		e.log.Warn("geo database is old; fetch a newer one", "file", file, "days", int(age.Hours()/24))
	}
	return func(l *lookups) { l.geo[i] = d }, nil
}

func (e *Enricher) loadAssets(files []string) (func(*lookups), error) {
	t, err := asset.Load(files)
	if err != nil {
		return nil, err
	}
	e.metrics.items.WithLabelValues("assets").Set(float64(t.Len()))
	return func(l *lookups) { l.assets = t }, nil
}

func (e *Enricher) loadIntel(feeds []intel.Feed, internal *bart.Lite) (func(*lookups), error) {
	set, stats, err := intel.Load(feeds, internal)
	if err != nil {
		return nil, err
	}
	for i, s := range stats {
		for reason, n := range map[string]int{"internal": s.Internal, "broad": s.Broad, "invalid": s.Invalid} {
			e.metrics.refused.WithLabelValues(feeds[i].Name, reason).Set(float64(n))
		}
		e.log.Info("intelligence feed loaded", "feed", feeds[i].Name, "networks", s.Networks, "names", s.Names, "refused", s.Refused())
		if s.Refused() > 0 {
			e.log.Warn("entries of an intelligence feed refused", "feed", feeds[i].Name, "internal", s.Internal, "broad", s.Broad, "invalid", s.Invalid)
		}
	}
	e.metrics.items.WithLabelValues("intel_networks").Set(float64(set.Networks()))
	e.metrics.items.WithLabelValues("intel_names").Set(float64(set.Names()))
	return func(l *lookups) { l.intel = set }, nil
}
