package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Dependencies of the server.
type Dependencies struct {
	Log *slog.Logger
	// Metrics are what /metrics shows.
	Metrics prometheus.Gatherer
	// Health is what /readyz asks.
	Health *Health
}

// Server serves /metrics, /livez and /readyz. Start it first and so stop it
// last: it shows the drain of the others.
type Server struct {
	cfg  Config
	deps Dependencies
	http *http.Server
	addr net.Addr
}

// New returns the server, inert. With an empty Listen it does nothing when
// started.
func New(cfg Config, deps Dependencies) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, deps: deps}, nil
}

// Name is the component's name.
func (s *Server) Name() string { return "telemetry" }

// Addr is the address listened on, nil before Start or when switched off.
func (s *Server) Addr() net.Addr { return s.addr }

// Handler returns what the server serves.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", livez)
	mux.HandleFunc("GET /readyz", s.deps.Health.readyz(s.cfg.CheckTimeout))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.deps.Metrics, promhttp.HandlerOpts{
		ErrorLog:      promLog{s.deps.Log},
		ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "weir "+CurrentBuild().Version+"\n/livez\n/readyz\n/metrics\n")
	})
	if s.cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// Start listens; a port that is taken is an error that says which key to set.
func (s *Server) Start(ctx context.Context, fail func(error)) error {
	if s.cfg.Listen == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("telemetry.listen %s: %w; set another port, 0 for any, or \"\" for none", s.cfg.Listen, err)
	}
	s.addr = l.Addr()
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn),
	}
	s.deps.Log.Info("serving metrics and health", "address", s.addr.String())
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fail(err)
		}
	}()
	return nil
}

// Stop lets the requests under way finish.
func (s *Server) Stop(ctx context.Context) error {
	if s.http == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// promLog hands what the metrics handler complains about to slog.
type promLog struct{ log *slog.Logger }

func (p promLog) Println(v ...any) { p.log.Warn("metrics: " + fmt.Sprint(v...)) }
