// Package secret holds values that must not show: passwords, keys, tokens.
package secret

import "log/slog"

// Redacted stands for a secret wherever it would be shown.
const Redacted = "[redacted]"

// String is a secret text. Whatever formats, logs or encodes it shows
// Redacted, so that a configuration can be dumped and an error can quote the
// struct it is about; Reveal is the one way to the text. It is read from YAML
// as any other string, usually as ${file:/run/secrets/x} or ${env:X}.
type String string

// Reveal returns the secret itself, for the one call that needs it.
func (s String) Reveal() string { return string(s) }

// String shows that there is a secret, never which.
func (s String) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString keeps the secret out of %#v.
func (s String) GoString() string { return `secret.String("` + s.String() + `")` }

// LogValue keeps the secret out of logs.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML keeps the secret out of dumped configurations.
func (s String) MarshalYAML() (any, error) { return s.String(), nil }
