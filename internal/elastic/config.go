// Package elastic is the one way to Elasticsearch: its configuration and its
// client, for whoever writes documents, puts templates or asks questions.
package elastic

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/weir-flow/weir/internal/secret"
)

// Config is the `elasticsearch` section.
type Config struct {
	// URLs of the servers, such as https://es1:9200. Requests go round them,
	// and around one that is down. Default http://127.0.0.1:9200.
	URLs []string `yaml:"urls"`
	// APIKey to authenticate with, in its encoded form, as
	// ${file:/run/secrets/x} or ${env:X}. Empty: none. Not together with
	// username.
	APIKey secret.String `yaml:"api_key"`
	// Username to authenticate with. Empty: none.
	Username string `yaml:"username"`
	// Password of the user, as ${file:/run/secrets/x} or ${env:X}.
	Password secret.String `yaml:"password"`
	// CAFile holds the PEM certificates of the authorities that the servers'
	// certificates are checked against. Empty: the system's.
	CAFile string `yaml:"ca_file"`
	// Namespace of the data streams: the last part of their names. Default default.
	Namespace string `yaml:"namespace"`
	// Compress the bodies of bulk requests with gzip. It triples the client's
	// work: for slow or metered links. Default false.
	Compress bool `yaml:"compress"`
}

// DefaultConfig is a server on this machine without security.
func DefaultConfig() Config {
	return Config{URLs: []string{"http://127.0.0.1:9200"}, Namespace: "default"}
}

// What Elasticsearch allows in the name of a data stream, less the hyphen,
// which separates its parts.
var namespacePattern = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// Validate reports all that is wrong, with the key of each.
func (c Config) Validate() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, errors.New("urls: want at least one, such as http://127.0.0.1:9200"))
	}
	for i, s := range c.URLs {
		if _, err := parseURL(s); err != nil {
			errs = append(errs, fmt.Errorf("urls[%d]: %w", i, err))
		}
	}
	if c.APIKey != "" && c.Username != "" {
		errs = append(errs, errors.New("api_key: give either this or username, not both"))
	}
	if (c.Username == "") != (c.Password == "") {
		errs = append(errs, errors.New("password: give it together with username"))
	}
	if !namespacePattern.MatchString(c.Namespace) {
		errs = append(errs, fmt.Errorf("namespace: want lower-case letters, digits, '_' and '.', at most 100, not %q", c.Namespace))
	}
	return errors.Join(errs...)
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("want a URL such as https://es1:9200, not %q", s)
	}
	if u.User != nil {
		return nil, errors.New("give the user in username and password, where they stay out of logs, not in the URL")
	}
	return u, nil
}
