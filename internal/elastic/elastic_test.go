package elastic_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-flow/weir/internal/elastic"
)

func TestConfig(t *testing.T) {
	if err := elastic.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, tc := range []struct {
		want   string
		change func(*elastic.Config)
	}{
		{"urls: ", func(c *elastic.Config) { c.URLs = nil }},
		{"urls[1]: want a URL", func(c *elastic.Config) { c.URLs = append(c.URLs, "es1:9200") }},
		{"urls[0]: give the user in username", func(c *elastic.Config) { c.URLs = []string{"https://u:p@es1:9200"} }},
		{"api_key: ", func(c *elastic.Config) { c.APIKey, c.Username, c.Password = "k", "u", "p" }},
		{"password: ", func(c *elastic.Config) { c.Username = "u" }},
		{"namespace: ", func(c *elastic.Config) { c.Namespace = "a-b" }},
		{"namespace: ", func(c *elastic.Config) { c.Namespace = `a","x` }},
	} {
		c := elastic.DefaultConfig()
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("got %v, want %s", err, tc.want)
		}
	}
	c := elastic.DefaultConfig()
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := elastic.New(c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent CA file: %v", err)
	}
	if err := os.WriteFile(c.CAFile, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := elastic.New(c); err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
		t.Errorf("a CA file that is none: %v", err)
	}
}

func TestDo(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Auth", r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/ok":
			_, _ = w.Write([]byte(`{"got":"` + r.Header.Get("Authorization") + `"}`))
		case "/no":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"type":"illegal_argument_exception","reason":"bad","caused_by":{"type":"x","reason":"worse"}},"status":400}`))
		default:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("proxy says no"))
		}
	}))
	defer srv.Close()
	c := elastic.DefaultConfig()
	c.URLs, c.APIKey = []string{srv.URL + "/"}, "key"
	cl, err := elastic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out struct{ Got string }
	if err := cl.Do(t.Context(), "GET", "/ok?a=b", nil, &out); err != nil || out.Got != "APIKey key" && out.Got != "ApiKey key" {
		t.Errorf("got %q, %v", out.Got, err)
	}
	err = cl.Do(t.Context(), "PUT", "/no?a=b", map[string]int{"a": 1}, nil)
	if want := "elasticsearch: PUT /no: status 400, illegal_argument_exception: bad: worse"; err == nil || err.Error() != want || !elastic.IsStatus(err, 400) {
		t.Errorf("(-got +want)\n- %v\n+ %s", err, want)
	}
	err = cl.Do(t.Context(), "GET", "/else", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "proxy says no") || !strings.Contains(err.Error(), "elasticsearch.api_key") || strings.Contains(err.Error(), "key=") {
		t.Errorf("got %v", err)
	}
}
