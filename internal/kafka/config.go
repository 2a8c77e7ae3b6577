package kafka

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/weir-flow/weir/internal/secret"
)

// Config is the kafka section: how every service reaches Kafka, and the
// topics that `weir setup` makes there.
type Config struct {
	// Brokers to bootstrap from, each HOST:PORT. The rest of the cluster is
	// learnt from them.
	Brokers []string `yaml:"brokers"`
	// TopicPrefix begins every topic, consumer group and transactional id, so
	// that several deployments can share a cluster.
	TopicPrefix string `yaml:"topic_prefix"`
	// ClientID begins the client id that brokers show in their logs, metrics
	// and quotas; the service's name follows it.
	ClientID string `yaml:"client_id"`
	// Instance is the stable name of this process among those that run the
	// same service, such as the pod's name in a StatefulSet: two at a time
	// must never share one. With it a restart takes its partitions back at
	// once; empty, they wait for the old session to time out (10 s).
	Instance string `yaml:"instance"`
	// Partitions of the topics that carry flows and alerts and of the state
	// that goes with them: a power of two, up to 1024, and the most instances
	// of a service that can share the work.
	Partitions int `yaml:"partitions"`
	// ReplicationFactor of the topics that are made; 0 leaves it to the
	// brokers' default.replication.factor.
	ReplicationFactor int `yaml:"replication_factor"`
	// Retention is how long Kafka keeps what is not compacted.
	Retention Retention `yaml:"retention"`
	// TLS encrypts the connections, and proves who the brokers are.
	TLS TLS `yaml:"tls"`
	// SASL proves to the brokers who we are.
	SASL SASL `yaml:"sasl"`
}

// Retention is how long Kafka keeps the records of each kind of topic,
// counted from their production.
type Retention struct {
	// Raw is for flow records as exported. Services recover from them: many
	// times the 2 minutes that a snapshot of state can be old.
	Raw time.Duration `yaml:"raw"`
	// Enriched is for enriched flows and what detector stages tell each
	// other: also how far back a rule can be tried on past traffic.
	Enriched time.Duration `yaml:"enriched"`
	// Alerts is for alerts, until every reader has them.
	Alerts time.Duration `yaml:"alerts"`
	// DeadLetter is for records that could not be processed, until somebody
	// has looked at them.
	DeadLetter time.Duration `yaml:"dead_letter"`
}

// TLS of the connections to the brokers.
type TLS struct {
	// Enabled turns TLS (1.2 or newer) on.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the PEM certificates that brokers' certificates must lead
	// to; empty trusts what the system trusts.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile hold our own PEM certificate and key, for brokers
	// that ask for one.
	CertFile string `yaml:"cert_file"`
	// KeyFile holds the key that belongs to cert_file.
	KeyFile string `yaml:"key_file"`
	// ServerName that the brokers' certificates must carry; empty is the host
	// that was dialled.
	ServerName string `yaml:"server_name"`
}

// Mechanisms of SASL.
const (
	MechanismPlain       = "PLAIN"
	MechanismScramSHA256 = "SCRAM-SHA-256"
	MechanismScramSHA512 = "SCRAM-SHA-512"
)

// SASL is the authentication to the brokers.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty turns SASL off.
	// PLAIN shows the password to the broker: use it with TLS only.
	Mechanism string `yaml:"mechanism"`
	// Username to authenticate as.
	Username string `yaml:"username"`
	// Password of the user: ${file:/run/secrets/kafka} or ${env:X}, so that
	// the configuration file holds none.
	Password secret.String `yaml:"password"`
}

// DefaultConfig is one broker on this machine, without encryption.
func DefaultConfig() Config {
	return Config{
		Brokers:     []string{"127.0.0.1:9092"},
		TopicPrefix: "weir.",
		ClientID:    "weir",
		Partitions:  8,
		Retention: Retention{
			Raw:        24 * time.Hour,
			Enriched:   72 * time.Hour,
			Alerts:     30 * 24 * time.Hour,
			DeadLetter: 7 * 24 * time.Hour,
		},
	}
}

// minRetention is ten times the age that a snapshot of state may reach: below
// it, a recovery could find its input gone.
const minRetention = 20 * time.Minute

var (
	// What Kafka allows in the name of a topic.
	topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)
	// Ids go into group and transactional ids, which tools print and split.
	plainName = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)
)

// maxPrefix leaves room for our own names in the 249 characters of a topic's.
const maxPrefix = 200

// Validate reports every key that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		bad("brokers: empty: give at least one HOST:PORT")
	}
	for i, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" {
			bad("brokers[%d]: %q is not HOST:PORT", i, b)
		} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			bad("brokers[%d]: %q has no port between 1 and 65535", i, b)
		}
	}
	if !topicName.MatchString(c.TopicPrefix) || len(c.TopicPrefix) > maxPrefix {
		bad("topic_prefix: %q: a topic is named with letters, digits, '.', '_' and '-' (here up to %d)", c.TopicPrefix, maxPrefix)
	}
	if !plainName.MatchString(c.ClientID) {
		bad("client_id: %q: use letters, digits, '.', '_' and '-'", c.ClientID)
	}
	if !plainName.MatchString(c.Instance) {
		bad("instance: %q: use letters, digits, '.', '_' and '-'", c.Instance)
	}
	if !validPartitions(c.Partitions) {
		bad("partitions: %d is not a power of two up to %d", c.Partitions, Groups)
	}
	if c.ReplicationFactor < 0 || c.ReplicationFactor > 32767 {
		bad("replication_factor: %d: give the number of copies, or 0 for the brokers' default", c.ReplicationFactor)
	}
	for _, r := range []struct {
		key   string
		value time.Duration
	}{
		{"raw", c.Retention.Raw}, {"enriched", c.Retention.Enriched},
		{"alerts", c.Retention.Alerts}, {"dead_letter", c.Retention.DeadLetter},
	} {
		if r.value < minRetention {
			bad("retention.%s: %s is below %s: services recover from what Kafka keeps", r.key, r.value, minRetention)
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file: give tls.key_file with it, or neither")
	}
	if t := c.TLS; !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.ServerName != "") {
		bad("tls.enabled: false, but other keys of tls are set: set it to true, or remove them")
	}
	switch c.SASL.Mechanism {
	case "":
		if c.SASL.Username != "" || c.SASL.Password != "" {
			bad("sasl.mechanism: empty, but there is a username or password: give %s, %s or %s", MechanismScramSHA512, MechanismScramSHA256, MechanismPlain)
		}
	case MechanismPlain, MechanismScramSHA256, MechanismScramSHA512:
		if c.SASL.Username == "" {
			bad("sasl.username: empty, but sasl.mechanism is %s", c.SASL.Mechanism)
		}
		if c.SASL.Password == "" {
			bad("sasl.password: empty, but sasl.mechanism is %s", c.SASL.Mechanism)
		}
	default:
		bad("sasl.mechanism: %q is none of %s, %s, %s", c.SASL.Mechanism, MechanismScramSHA512, MechanismScramSHA256, MechanismPlain)
	}
	return errors.Join(errs...)
}

// validPartitions reports whether key groups divide evenly among n partitions
// and state can follow a later change of n.
func validPartitions(n int) bool { return n > 0 && n <= Groups && n&(n-1) == 0 }

// Topic returns the full name of a topic: Topic(TopicRaw) is weir.flows.raw.
func (c Config) Topic(name string) string { return c.TopicPrefix + name }
