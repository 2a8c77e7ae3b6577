// Package demo plays a day of a generated enterprise through the whole
// pipeline on this machine, and shows what comes of it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/lifecycle"
	"github.com/weir-flow/weir/internal/telemetry"
	"github.com/weir-flow/weir/pipeline"
)

// Options of a demonstration.
type Options struct {
	// Generator says what is played.
	Generator generator.Config
	// Speed is how many seconds are played in one.
	Speed float64
	// Once ends by itself, with an error when an attack was not found or
	// something else was alerted. Otherwise the servers stay until ctx is done.
	Once bool
	// Brokers and Elasticsearch name servers to use instead of starting some.
	Brokers       []string
	Elasticsearch string
	// Out is where people look; Terminal tells that it can be redrawn.
	Out      io.Writer
	Terminal bool
	Log      *slog.Logger
}

// ErrVerdict says that the alerts were not those the truth demands.
var ErrVerdict = errors.New("the alerts are not what they should be")

// drainLimit bounds how long the pipeline may take to finish what was played.
const drainLimit = 2 * time.Minute

// Run plays the demonstration.
func Run(ctx context.Context, cfg pipeline.Config, o Options) (err error) {
	begin := time.Now()
	screen := newScreen(o.Out, o.Terminal)
	defer screen.close()
	dir, remove, err := workDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	screen.note("bringing up servers")
	s, err := bring(ctx, o, o.Log, screen.note)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, n := range s.notes {
		screen.note(n)
	}

	d := &run{o: o, begin: begin, screen: screen, servers: s, cfg: cfg}
	if err := d.configure(dir); err != nil {
		return err
	}
	d.gen, err = generator.New(o.Generator)
	if err != nil {
		return err
	}
	d.verdict = NewVerdict(d.gen.Truth())
	targets := []string{"kafka"}
	if s.elastic != "" {
		targets = append(targets, "elasticsearch")
	}
	if err := pipeline.Setup(ctx, d.cfg, o.Log, targets, false, func(string) {}); err != nil {
		return err
	}
	made := "topics " + d.cfg.Kafka.TopicPrefix + "*"
	if s.elastic != "" {
		made += " and data streams logs-weir.*-" + d.cfg.Elasticsearch.Namespace
	}
	screen.note("set up: " + made)
	return d.play(ctx)
}

// run is one demonstration.
type run struct {
	o       Options
	begin   time.Time
	screen  *screen
	servers *servers
	cfg     pipeline.Config
	gen     *generator.Generator

	registry  *prometheus.Registry
	collector lifecycle.Component
	stages    []lifecycle.Component
	health    telemetry.Health

	mu      sync.Mutex
	verdict *Verdict
	alerts  int // revisions seen

	firstAlert    time.Duration // since the beginning of the program
	firstIndexed  time.Duration
	played, taken time.Duration
}

// configure points a copy of the configuration at the servers, under a name
// of its own.
func (d *run) configure(dir string) error {
	name := "demo_" + strconv.FormatInt(d.begin.UnixMilli(), 36)
	d.cfg.Kafka.Brokers = d.servers.brokers
	d.cfg.Kafka.TopicPrefix = name + "."
	d.cfg.Kafka.ReplicationFactor = 1
	d.cfg.Kafka.Partitions = 4
	d.cfg.Kafka.Instance = "demo"
	if d.servers.elastic != "" {
		d.cfg.Elasticsearch.URLs = []string{d.servers.elastic}
	}
	d.cfg.Elasticsearch.Namespace = name
	port, err := freePort()
	if err != nil {
		return err
	}
	d.cfg.Collector.Listen = []string{"netflow://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	d.cfg.Collector.StreamTime = collector.StreamTimeExport
	d.cfg.Collector.Spool.Dir = dir + "/spool"
	d.cfg.Telemetry.Listen = ""
	// A second is played in less than two milliseconds: a partition that stalls
	// for a moment falls minutes behind and has not gone.
	d.cfg.Stream.MaxStall, d.cfg.Stream.CollectorMaxStall = d.o.Generator.Duration, d.o.Generator.Duration
	return WriteWorld(dir, time.Now(), &d.cfg.Enricher)
}

// freePort finds a UDP port on the loopback that nobody has.
func freePort() (int, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, fmt.Errorf("a free UDP port: %w", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// play runs the pipeline, the generator and the view.
func (d *run) play(ctx context.Context) (err error) {
	if err := d.build(); err != nil {
		return err
	}
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	stageCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started []lifecycle.Component
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.ShutdownGrace)
		defer cancel()
		for i := len(started) - 1; i >= 0; i-- {
			err = errors.Join(err, started[i].Stop(grace))
		}
	}()
	for _, c := range append(d.stages, d.collector) {
		if err := c.Start(stageCtx, fail); err != nil {
			return fmt.Errorf("%s: %w", c.Name(), err)
		}
		started = append(started, c)
	}
	if err := d.ready(ctx, failed); err != nil {
		return err
	}
	watching, err := d.watch(stageCtx, fail)
	if err != nil {
		return err
	}
	defer watching.Wait()
	defer cancel()

	if err := d.generate(ctx, failed); err != nil {
		return err
	}
	d.screen.note("the day is played; the pipeline finishes what it holds")
	// The collector says with its last ticks that nothing more will come, so
	// that every window closes.
	grace, cancelGrace := context.WithTimeout(ctx, drainLimit)
	defer cancelGrace()
	started = started[:len(started)-1]
	if err := d.collector.Stop(grace); err != nil {
		return err
	}
	if err := d.drain(grace, failed); err != nil {
		return err
	}
	d.taken = time.Since(d.begin)
	return d.conclude(ctx, failed)
}

// build makes the components, inert.
func (d *run) build() error {
	d.registry = telemetry.NewRegistry()
	roles := []pipeline.Role{pipeline.RoleEnricher, pipeline.RoleDetector}
	if d.servers.elastic != "" {
		roles = append(roles, pipeline.RoleIndexer)
	}
	o := pipeline.Options{Roles: roles, Log: d.o.Log, Registry: d.registry, Health: &d.health}
	var err error
	if d.stages, err = pipeline.Components(d.cfg, o); err != nil {
		return err
	}
	o.Roles = []pipeline.Role{pipeline.RoleCollector}
	c, err := pipeline.Components(d.cfg, o)
	if err != nil {
		return err
	}
	d.collector = c[0]
	return nil
}

// ready waits until every stage has its partitions.
func (d *run) ready(ctx context.Context, failed <-chan error) error {
	d.screen.note("stages take their partitions")
	for {
		waiting := ""
		for _, r := range d.health.Run(ctx, time.Second) {
			if r.Err != nil {
				waiting = r.Name + ": " + r.Err.Error()
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(d.begin) > 5*time.Minute {
			return fmt.Errorf("not ready after five minutes: %s", waiting)
		}
	}
}

// generate plays the traffic over UDP and shows how it goes.
func (d *run) generate(ctx context.Context, failed <-chan error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	listen := d.cfg.Collector.Listen[0]
	sink, err := generator.NewUDPSink(listen[len("netflow://"):])
	if err != nil {
		return err
	}
	defer sink.Close()
	g := d.o.Generator
	d.screen.note(fmt.Sprintf("seed %d: %s in the life of %d hosts, %s to %s, at %.0f times the pace, as NetFlow v5, v9 and IPFIX to udp %s",
		g.Seed, g.Duration, g.Hosts, g.Start.Format(time.TimeOnly), g.Start.Add(g.Duration).Format(time.TimeOnly), d.o.Speed, listen[len("netflow://"):]))
	from := time.Now()
	// The rate bounds bursts: the day is played at a multiple of its pace, and
	// so are its peaks.
	err = d.gen.Run(ctx, generator.Pace(ctx, generator.Limit(ctx, sink, 20_000), d.o.Speed))
	d.played = time.Since(from)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
