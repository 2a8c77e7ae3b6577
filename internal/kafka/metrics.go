package kafka

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/twmb/franz-go/pkg/kgo"
)

// metrics registers a client's metrics while the client lives. The plugin
// would panic when two clients of a process share a registry, so it writes to
// one of its own, and ours collects from it under a label that tells the
// clients apart.
type metrics struct {
	*kprom.Metrics // the hooks; set by OnNewClient, which comes first

	registry prometheus.Registerer
	client   string
	as       prometheus.Registerer // registry with the label that was free
}

// maxNamesakes bounds the search for a free label; a process has a handful of
// clients of one name.
const maxNamesakes = 100

// OnNewClient implements kgo.HookNewClient.
func (m *metrics) OnNewClient(cl *kgo.Client) {
	m.Metrics = kprom.NewMetrics("weir", kprom.Subsystem("kafka"))
	m.Metrics.OnNewClient(cl)
	for n := 1; n <= maxNamesakes; n++ {
		name := m.client
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		as := prometheus.WrapRegistererWith(prometheus.Labels{"client": name}, m.registry)
		err := as.Register(m.Metrics)
		if err == nil {
			m.as = as
			return
		}
		if !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return // a client without metrics works; a metric of that name is someone else's
		}
	}
}

// OnClientClosed implements kgo.HookClientClosed.
func (m *metrics) OnClientClosed(*kgo.Client) {
	if m.as != nil {
		m.as.Unregister(m.Metrics)
	}
}
