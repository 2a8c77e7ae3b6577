package generator

import (
	"encoding/json"
	"io"
	"net/netip"
	"time"
)

// Rule ids that attacks are expected to fire.
const (
	RuleHorizontalScan = "horizontal-scan"
	RuleWormSpread     = "worm-spread"
	RuleSpamSender     = "spam-sender"
	RuleBeacon         = "beacon"
	RuleDDoSVictim     = "ddos-victim"
	RuleTorUse         = "tor-use"
)

// Kind tells what an Event is.
type Kind string

// The kinds of events.
const (
	Attack   Kind = "attack"    // its expected alerts must be raised
	NearMiss Kind = "near-miss" // no alert may be raised
)

// Event is one truth about the generated traffic.
type Event struct {
	// Name of the scenario or near miss.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Description in one sentence.
	Description string `json:"description"`
	// Start and End of its traffic, UTC.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Attackers are who acts; of a near miss, who could be taken for one. At
	// most 50 are listed of AttackerCount.
	Attackers     []netip.Addr `json:"attackers"`
	AttackerCount int          `json:"attackerCount"`
	// Victims are who it is done to, likewise.
	Victims     []netip.Addr `json:"victims"`
	VictimCount int          `json:"victimCount"`
	// Protocol is tcp, udp or icmp; Ports are the destination ports.
	Protocol string   `json:"protocol"`
	Ports    []uint16 `json:"ports"`
	// Expect lists the alerts that an attack must raise, one an entity.
	Expect []Expectation `json:"expect,omitempty"`
	// MayFire lists rules that may rightly fire as well, for any of the
	// attackers and victims.
	MayFire []string `json:"mayFire,omitempty"`
	// MustNotFire lists the rules a near miss is made to tempt. They must
	// stay silent about its attackers and victims.
	MustNotFire []string `json:"mustNotFire,omitempty"`
	// Infections is the lineage of a worm, in order of time; patient zero is
	// first and has no parent.
	Infections []Infection `json:"infections,omitempty"`
}

// Expectation is an alert that must be raised.
type Expectation struct {
	Rule   string     `json:"rule"`
	Entity netip.Addr `json:"entity"`
}

// Infection is one step of a worm.
type Infection struct {
	Host   netip.Addr  `json:"host"`
	Parent *netip.Addr `json:"parent,omitempty"`
	At     time.Time   `json:"at"`    // when the parent got in
	Scans  time.Time   `json:"scans"` // when the host began to scan
}

// maxListed bounds the addresses in an Event.
const maxListed = 50

// WriteTruth writes events as NDJSON, one a line.
func WriteTruth(w io.Writer, events []Event) error {
	enc := json.NewEncoder(w)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func addresses(from []endpoint) []netip.Addr {
	out := make([]netip.Addr, 0, min(len(from), maxListed))
	for _, e := range from[:min(len(from), maxListed)] {
		out = append(out, e.addr.addr())
	}
	return out
}

// event fills in what all have in common.
func (p *plan) event(name string, kind Kind, description string, start, end int64, attackers, victims []endpoint) Event {
	return Event{
		Name: name, Kind: kind, Description: description,
		Start: time.UnixMilli(start).UTC(), End: time.UnixMilli(end).UTC(),
		Attackers: addresses(attackers), AttackerCount: len(attackers),
		Victims: addresses(victims), VictimCount: len(victims),
		Protocol: "tcp",
	}
}
