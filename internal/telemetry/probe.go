package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ErrOff says that a process without an HTTP server cannot be asked.
var ErrOff = errors.New("telemetry.listen is empty: there is nothing to ask")

// Probe asks the process that listens as cfg says, on this host, whether it is
// ready. It returns what the process answered, and an error when it is not
// ready or does not answer.
func Probe(ctx context.Context, cfg Config) (answer string, err error) {
	if cfg.Listen == "" {
		return "", ErrOff
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", fmt.Errorf("telemetry.listen: %w", err)
	}
	// Whoever listens on all addresses listens on loopback.
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
		if a.Is6() {
			host = "::1"
		}
	}
	// The server bounds its checks; a bit more is for the way.
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.CheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return string(body), fmt.Errorf("not ready: %s", strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; "))
	}
	return string(body), nil
}
