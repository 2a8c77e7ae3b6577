package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-flow/weir/internal/secret"
)

func TestStringNeverShows(t *testing.T) {
	const text = "hunter2"
	type holder struct {
		Password secret.String `json:"password" yaml:"password"`
	}
	h := holder{Password: text}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "password", h.Password, "holder", h)
	asJSON, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for how, shown := range map[string]string{
		"%v": fmt.Sprintf("%v", h), "%+v": fmt.Sprintf("%+v", h), "%#v": fmt.Sprintf("%#v", h),
		//nolint:staticcheck // what the verb shows is what is tested
		"%s": fmt.Sprintf("%s", h.Password), "%q": fmt.Sprintf("%q", h.Password),
		"slog": logged.String(), "json": string(asJSON), "yaml": string(asYAML),
	} {
		if strings.Contains(shown, text) || !strings.Contains(shown, secret.Redacted) {
			t.Errorf("%s shows %s", how, shown)
		}
	}
	if got := h.Password.Reveal(); got != text {
		t.Errorf("Reveal (-got, +want)\n- %s\n+ %s", got, text)
	}
}

func TestStringReadsFromYAML(t *testing.T) {
	var h struct {
		Password secret.String `yaml:"password"`
	}
	if err := yaml.Unmarshal([]byte("password: hunter2"), &h); err != nil {
		t.Fatal(err)
	}
	if h.Password.Reveal() != "hunter2" {
		t.Errorf("read %q", h.Password.Reveal())
	}
	if got := secret.String("").String(); got != "" {
		t.Errorf("an empty secret shows %q; it must show that there is none", got)
	}
}
