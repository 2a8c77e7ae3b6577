package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/telemetry"
)

func server(t *testing.T, tweak func(*telemetry.Config)) (*telemetry.Server, *telemetry.Health, *prometheus.Registry) {
	t.Helper()
	cfg := telemetry.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	if tweak != nil {
		tweak(&cfg)
	}
	health, registry := &telemetry.Health{}, telemetry.NewRegistry()
	s, err := telemetry.New(cfg, telemetry.Dependencies{Log: slog.New(slog.DiscardHandler), Metrics: registry, Health: health})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), func(err error) { t.Errorf("failed: %v", err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, health, registry
}

func get(t *testing.T, s *telemetry.Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServerShowsHealthAndMetrics(t *testing.T) {
	s, health, registry := server(t, nil)
	if code, body := get(t, s, "/livez"); code != 200 || body != "alive\n" {
		t.Errorf("/livez: %d %q", code, body)
	}
	if code, body := get(t, s, "/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("/readyz without checks: %d %q", code, body)
	}
	var broken error
	health.Register("kafka", func(context.Context) error { return broken })
	remove := health.Register("sockets", func(context.Context) error { return nil })
	if code, body := get(t, s, "/readyz"); code != 200 || body != "ok kafka\nok sockets\nready\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	broken = errors.New("no broker\nanswers")
	remove()
	if code, body := get(t, s, "/readyz"); code != 503 || body != "not ok kafka: no broker; answers\nnot ready\n" {
		t.Errorf("/readyz with a failing check: %d %q", code, body)
	}
	if code, _ := get(t, s, "/livez"); code != 200 {
		t.Errorf("/livez asks dependencies: %d", code)
	}
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_test_total", Help: "A test."})
	registry.MustRegister(c)
	c.Add(7)
	_, body := get(t, s, "/metrics")
	for _, want := range []string{"weir_test_total 7\n", "weir_build_info{commit=", "go_goroutines "} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	if code, _ := get(t, s, "/debug/pprof/"); code != 404 {
		t.Errorf("profiles are served unasked: %d", code)
	}
}

func TestPprofOnRequest(t *testing.T) {
	s, _, _ := server(t, func(c *telemetry.Config) { c.Pprof = true })
	if code, _ := get(t, s, "/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("status %d", code)
	}
}

func TestServerOff(t *testing.T) {
	s, _, _ := server(t, func(c *telemetry.Config) { c.Listen = "" })
	if s.Addr() != nil {
		t.Errorf("listens on %v", s.Addr())
	}
}

func TestPortTakenSaysWhatToSet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := telemetry.DefaultConfig()
	cfg.Listen = l.Addr().String()
	s, err := telemetry.New(cfg, telemetry.Dependencies{Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Health: &telemetry.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(t.Context(), func(error) {})
	if err == nil || !strings.Contains(err.Error(), "telemetry.listen "+cfg.Listen) {
		t.Errorf("error %v", err)
	}
}

func TestCheckThatHangsIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &telemetry.Health{}
		hang := make(chan struct{})
		h.Register("hangs", func(context.Context) error { <-hang; return nil })
		h.Register("works", func(context.Context) error { return nil })
		got := h.Run(t.Context(), 2*time.Second)
		if len(got) != 2 || got[0].Name != "hangs" || got[0].Err == nil || got[1].Err != nil {
			t.Errorf("results %v", got)
		}
		close(hang)
	})
}

func TestConfigValidate(t *testing.T) {
	if err := telemetry.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	c := telemetry.Config{Listen: "9600", LogLevel: "loud", LogFormat: "xml"}
	want := `listen: want HOST:PORT, such as 127.0.0.1:9600, or "" for none, not "9600"
log_level: want debug, info, warn or error, not "loud"
log_format: want auto, text or json, not "xml"
check_timeout: must be above 0, not 0s`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("(-got, +want)\n- %v\n+ %s", err, want)
	}
}

func TestLoggerFormats(t *testing.T) {
	for format, isJSON := range map[string]bool{telemetry.FormatAuto: true, telemetry.FormatJSON: true, telemetry.FormatText: false} {
		var b bytes.Buffer
		cfg := telemetry.DefaultConfig()
		cfg.LogFormat, cfg.LogLevel = format, "warn"
		log, err := telemetry.NewLogger(cfg, &b)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("not this")
		log.Warn("this", "n", 1, "in", 1500*time.Millisecond)
		if json.Valid(b.Bytes()) != isJSON || strings.Contains(b.String(), "not this") || !strings.Contains(b.String(), "this") || !strings.Contains(b.String(), "1.5s") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		h := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		l := telemetry.NewLimiter(slog.New(h), 10*time.Second)
		for range 3 {
			l.Warn("192.0.2.1", "bad datagram", "exporter", "192.0.2.1")
		}
		l.Warn("192.0.2.2", "bad datagram", "exporter", "192.0.2.2")
		l.Warn("192.0.2.1", "no template", "exporter", "192.0.2.1")
		time.Sleep(10 * time.Second) // the fake clock of the bubble
		l.Warn("192.0.2.1", "bad datagram", "exporter", "192.0.2.1")
		want := `level=WARN msg="bad datagram" exporter=192.0.2.1
level=WARN msg="bad datagram" exporter=192.0.2.2
level=WARN msg="no template" exporter=192.0.2.1
level=WARN msg="bad datagram" exporter=192.0.2.1 suppressed=2
`
		if b.String() != want {
			t.Errorf("(-got, +want)\n%s\n%s", b.String(), want)
		}
	})
}

// A flood of spoofed exporters must neither flood the log nor grow the
// limiter without bound.
func TestLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := 0
		l := telemetry.NewLimiter(slog.New(slog.NewTextHandler(writerFunc(func(p []byte) { lines++ }), nil)), time.Second)
		for i := range 100_000 {
			l.Warn(string(rune(i)), "bad datagram")
		}
		if lines > 1025 {
			t.Errorf("%d lines in one period", lines)
		}
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestProbe(t *testing.T) {
	s, health, _ := server(t, nil)
	cfg := telemetry.DefaultConfig()
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "0.0.0.0:" + port
	if answer, err := telemetry.Probe(t.Context(), cfg); err != nil || answer != "ready\n" {
		t.Errorf("answer %q, error %v", answer, err)
	}
	health.Register("kafka", func(context.Context) error { return errors.New("away") })
	if _, err := telemetry.Probe(t.Context(), cfg); err == nil || err.Error() != "not ready: not ok kafka: away; not ready" {
		t.Errorf("error %v", err)
	}
	cfg.Listen = "127.0.0.1:1"
	if _, err := telemetry.Probe(t.Context(), cfg); err == nil {
		t.Error("nobody answers and all is well")
	}
	cfg.Listen = ""
	if _, err := telemetry.Probe(t.Context(), cfg); !errors.Is(err, telemetry.ErrOff) {
		t.Errorf("error %v", err)
	}
}
