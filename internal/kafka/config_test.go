package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-flow/weir/internal/kafka"
)

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tweak func(*kafka.Config)
		want  string // part of the error; empty: none
	}{
		{"the default", func(*kafka.Config) {}, ""},
		{"IPv6 broker", func(c *kafka.Config) { c.Brokers = []string{"[::1]:9092"} }, ""},
		{"TLS and SCRAM", func(c *kafka.Config) {
			c.TLS = kafka.TLS{Enabled: true, CertFile: "c", KeyFile: "k"}
			c.SASL = kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: "u", Password: "p"}
		}, ""},
		{"no broker", func(c *kafka.Config) { c.Brokers = nil }, "brokers: empty"},
		{"broker without port", func(c *kafka.Config) { c.Brokers = []string{"a:1", "b"} }, `brokers[1]: "b" is not HOST:PORT`},
		{"broker at port 0", func(c *kafka.Config) { c.Brokers = []string{"a:0"} }, "brokers[0]: "},
		{"broker as URL", func(c *kafka.Config) { c.Brokers = []string{"kafka://a:9092"} }, "brokers[0]: "},
		{"prefix", func(c *kafka.Config) { c.TopicPrefix = "a b" }, "topic_prefix: "},
		{"long prefix", func(c *kafka.Config) { c.TopicPrefix = strings.Repeat("x", 201) }, "topic_prefix: "},
		{"client id", func(c *kafka.Config) { c.ClientID = "a/b" }, "client_id: "},
		{"instance", func(c *kafka.Config) { c.Instance = "a b" }, "instance: "},
		{"12 partitions", func(c *kafka.Config) { c.Partitions = 12 }, "partitions: 12 is not a power of two"},
		{"no partitions", func(c *kafka.Config) { c.Partitions = 0 }, "partitions: 0"},
		{"2048 partitions", func(c *kafka.Config) { c.Partitions = 2048 }, "partitions: 2048"},
		{"replicas", func(c *kafka.Config) { c.ReplicationFactor = -1 }, "replication_factor: -1"},
		{"retention", func(c *kafka.Config) { c.Retention.Raw = time.Minute }, "retention.raw: 1m0s is below"},
		{"half a certificate", func(c *kafka.Config) { c.TLS = kafka.TLS{Enabled: true, CertFile: "c"} }, "tls.cert_file: "},
		{"TLS forgotten", func(c *kafka.Config) { c.TLS.CAFile = "ca.pem" }, "tls.enabled: "},
		{"mechanism", func(c *kafka.Config) { c.SASL.Mechanism = "GSSAPI" }, `sasl.mechanism: "GSSAPI"`},
		{"mechanism forgotten", func(c *kafka.Config) { c.SASL.Username = "u" }, "sasl.mechanism: empty"},
		{"no user", func(c *kafka.Config) { c.SASL = kafka.SASL{Mechanism: "PLAIN", Password: "p"} }, "sasl.username: "},
		{"no password", func(c *kafka.Config) { c.SASL = kafka.SASL{Mechanism: "PLAIN", Username: "u"} }, "sasl.password: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := kafka.DefaultConfig()
			tc.tweak(&cfg)
			err := cfg.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error (-got, +want)\n- %v\n+ %q", err, tc.want)
			}
		})
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := kafka.Config{}.Validate()
	for _, want := range []string{"brokers", "partitions", "retention.raw", "retention.dead_letter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error (-got, +want)\n- %v\n+ %s", err, want)
		}
	}
}
