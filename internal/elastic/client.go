package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// Client performs requests on any of the servers. It never repeats one: who
// sends a request knows what may be sent again.
type Client struct {
	transport *elastictransport.Client
	http      *http.Transport
	compress  bool
}

// New returns a client; nothing is sent yet. The error is about the CA file.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var urls []*url.URL
	for _, s := range c.URLs {
		u, err := parseURL(s)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	trust, err := authorities(c.CAFile)
	if err != nil {
		return nil, err
	}
	h := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		ExpectContinueTimeout: time.Second,
		// Of ours rather than the library's: it would put the authorities into
		// a copy of this transport, which Close does not reach.
		TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
		// Bulk requests are megabytes: fewer, larger writes.
		WriteBufferSize: 64 << 10,
		ReadBufferSize:  16 << 10,
	}
	t, err := elastictransport.NewClient(
		elastictransport.WithUserAgent("weir"),
		elastictransport.WithURLs(urls...),
		elastictransport.WithBasicAuth(c.Username, c.Password.Reveal()),
		elastictransport.WithAPIKey(c.APIKey.Reveal()),
		elastictransport.WithDisableRetry(),
		elastictransport.WithTransport(h),
	)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	return &Client{transport: t, http: h, compress: c.Compress}, nil
}

// authorities reads the certificates that servers' certificates must lead to;
// nil means those of the system.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// Perform sends a request whose URL holds the path alone. The body of the
// response is the caller's to close.
func (c *Client) Perform(r *http.Request) (*http.Response, error) { return c.transport.Perform(r) }

// Compress reports whether large bodies shall be sent compressed; whoever
// sends them does it, into a buffer that is reused.
func (c *Client) Compress() bool { return c.compress }

// Close lets go of the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an answer that says no.
type Error struct {
	Method, Path string
	Status       int
	// Type and Reason are Elasticsearch's; Reason is the start of the body
	// where it is not Elasticsearch's JSON.
	Type, Reason string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("elasticsearch: %s %s: status %d", e.Method, e.Path, e.Status)
	if e.Type != "" {
		s += ", " + e.Type
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	switch e.Status {
	case http.StatusUnauthorized:
		s += " (check elasticsearch.api_key, or username and password)"
	case http.StatusForbidden:
		s += " (the user or API key lacks a privilege)"
	}
	return s
}

// Longest answer that Do reads: what it asks for is small.
const maxAnswer = 16 << 20

// Do sends a request with a JSON body (nil: none) and decodes the answer into
// out (nil: it is thrown away). An answer that says no is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, body, out any) error {
	var b io.Reader
	if body != nil {
		j, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("elasticsearch: %s %s: %w", method, path, err)
		}
		b = bytes.NewReader(j)
	}
	r, err := http.NewRequestWithContext(ctx, method, path, b)
	if err != nil {
		return fmt.Errorf("elasticsearch: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := c.Perform(r)
	if err != nil {
		return fmt.Errorf("elasticsearch: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("elasticsearch: %s %s: %w", method, path, err)
	}
	if res.StatusCode >= 300 {
		return AnswerError(method, path, res.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("elasticsearch: %s %s: %w", method, path, err)
	}
	return nil
}

// AnswerError makes an *Error of an answer's status and body.
func AnswerError(method, path string, status int, body []byte) *Error {
	path, _, _ = strings.Cut(path, "?")
	e := &Error{Method: method, Path: path, Status: status}
	var parsed struct {
		Error json.RawMessage `json:"error"`
	}
	var cause struct {
		Type      string `json:"type"`
		Reason    string `json:"reason"`
		RootCause []struct {
			Reason string `json:"reason"`
		} `json:"root_cause"`
		CausedBy *struct {
			Reason string `json:"reason"`
		} `json:"caused_by"`
	}
	if json.Unmarshal(body, &parsed) == nil && json.Unmarshal(parsed.Error, &cause) == nil && cause.Type != "" {
		e.Type, e.Reason = cause.Type, cause.Reason
		if cause.CausedBy != nil && cause.CausedBy.Reason != "" && cause.CausedBy.Reason != cause.Reason {
			e.Reason += ": " + cause.CausedBy.Reason
		}
		return e
	}
	e.Reason = string(body[:min(len(body), 300)])
	return e
}

// IsStatus reports whether err is an answer with this status.
func IsStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}
