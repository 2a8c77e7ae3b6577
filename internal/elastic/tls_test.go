package elastic_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-flow/weir/internal/elastic"
)

// A server whose certificate leads to ca_file is trusted, any other is not.
func TestAuthorities(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(`{"ok":true}`)); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, file, want string }{
		{"its own authority", ca, ""},
		{"the system's", "", "certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := elastic.DefaultConfig()
			cfg.URLs, cfg.CAFile = []string{srv.URL}, tc.file
			c, err := elastic.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Do(t.Context(), http.MethodGet, "/_cluster/health", nil, nil)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error (-got, +want)\n- %v\n+ %q", err, tc.want)
			}
		})
	}
}
