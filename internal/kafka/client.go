package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Role is what a client is for; each has house options of its own.
type Role int

const (
	// RoleAdmin creates and describes.
	RoleAdmin Role = iota
	// RoleProducer writes outside of transactions: idempotent, acknowledged
	// by all replicas in sync, and never gives a record up. Its caller bounds
	// how much may wait (kgo.MaxBufferedRecords blocks or fails).
	RoleProducer
	// RoleConsumer reads what is committed. Its caller names topics or
	// partitions, the group if any, and where to start.
	RoleConsumer
	// RoleTransactional reads what is committed and writes in transactions.
	// Its caller gives the group and the transactional id.
	RoleTransactional
)

// Dependencies of a client.
type Dependencies struct {
	// Log gets what the client has to say, at the level it deserves.
	Log *slog.Logger
	// Registry gets the client's metrics, weir_kafka_*, with the label
	// "client". Nil: none.
	Registry prometheus.Registerer
	// Service is the name of the service (collector, enricher, ...): it ends
	// the client id.
	Service string
}

// clientID is how brokers and metrics know the client.
func clientID(cfg Config, deps Dependencies) string {
	return strings.Trim(cfg.ClientID+"-"+deps.Service, "-")
}

// batchBytes is the largest batch: Kafka's default of max.message.bytes is
// 12 bytes more.
const batchBytes = 1 << 20

// Options returns what every client of a role starts from. A caller's own
// options follow them, and win.
func Options(cfg Config, deps Dependencies, role Role) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(clientID(cfg, deps)),
		kgo.SoftwareNameAndVersion("weir", "1"),
		kgo.WithLogger(logger{deps.Log.With("client", clientID(cfg, deps))}),
		// A new leader is known within this time after a broker was lost,
		// even when no request has failed yet.
		kgo.MetadataMaxAge(time.Minute),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.RecordPartitioner(Partitioner()),
	}
	if deps.Registry != nil {
		opts = append(opts, kgo.WithHooks(&metrics{registry: deps.Registry, client: clientID(cfg, deps)}))
	}
	if cfg.TLS.Enabled {
		c, err := tlsConfig(cfg.TLS)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if cfg.SASL.Mechanism != "" {
		opt, err := saslOption(cfg.SASL)
		if err != nil {
			return nil, err
		}
		opts = append(opts, opt)
	}
	if role == RoleProducer || role == RoleTransactional {
		opts = append(opts,
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
			kgo.ProducerBatchMaxBytes(batchBytes),
		)
	}
	if role == RoleProducer {
		opts = append(opts,
			// Batches worth compressing; ticks go out as often.
			kgo.ProducerLinger(50*time.Millisecond),
			// Neither a delivery timeout nor a limit of retries is set, which
			// is kgo's default; that a topic is unknown ends a record too,
			// unless told otherwise, and must not where setup is late.
			kgo.UnknownTopicRetries(-1),
		)
	}
	if role == RoleConsumer || role == RoleTransactional {
		opts = append(opts,
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			// Bounds what is buffered: per broker and fetch, and per partition.
			kgo.FetchMaxBytes(16<<20),
			kgo.FetchMaxPartitionBytes(1<<20),
			// An idle partition is asked again this often; records that come
			// are answered at once.
			kgo.FetchMaxWait(time.Second),
		)
	}
	return opts, nil
}

// NewClient makes a client with the house options of its role, and then opts.
// It does not connect: Reach tells whether Kafka is there.
func NewClient(cfg Config, deps Dependencies, role Role, opts ...kgo.Opt) (*kgo.Client, error) {
	house, err := Options(cfg, deps, role)
	if err != nil {
		return nil, err
	}
	all := append(house, opts...)
	if err := kgo.ValidateOpts(all...); err != nil {
		return nil, fmt.Errorf("kafka client of %s: %w", deps.Service, err)
	}
	return kgo.NewClient(all...)
}

// UnreachableError says that no broker of the configuration answers.
type UnreachableError struct {
	Brokers []string // as configured
	Cause   error    // of each broker
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no Kafka at %s: start it, or correct kafka.brokers (and kafka.tls, kafka.sasl): %v",
		strings.Join(e.Brokers, ", "), e.Cause)
}

func (e *UnreachableError) Unwrap() error { return e.Cause }

// reachTimeout bounds the question to one broker.
const reachTimeout = 5 * time.Second

// Reach asks the configured brokers for their cluster until one answers: nil,
// or an *UnreachableError with what each of them had to say. It tries once:
// retrying is up to the caller.
func Reach(ctx context.Context, cl *kgo.Client) error {
	var causes []error
	for _, b := range cl.SeedBrokers() {
		// Straight to the broker: the client itself would retry for long, and
		// then tell of the time that ran out and not of the refusal.
		try, cancel := context.WithTimeout(ctx, reachTimeout)
		_, err := b.Request(try, kmsg.NewPtrMetadataRequest())
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		causes = append(causes, err)
	}
	brokers, _ := cl.OptValue(kgo.SeedBrokers).([]string)
	return &UnreachableError{Brokers: brokers, Cause: errors.Join(causes...)}
}

// tlsConfig loads the files; its errors name the key.
func tlsConfig(t TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert_file, key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func saslOption(s SASL) (kgo.Opt, error) {
	switch s.Mechanism {
	case MechanismPlain:
		return kgo.SASL(plain.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsMechanism()), nil
	case MechanismScramSHA256:
		return kgo.SASL(scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha256Mechanism()), nil
	case MechanismScramSHA512:
		return kgo.SASL(scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha512Mechanism()), nil
	}
	return nil, fmt.Errorf("kafka.sasl.mechanism: unknown %q", s.Mechanism)
}
