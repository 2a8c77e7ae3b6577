package generator

import "time"

// ScenarioInfo describes an attack that can be mixed in.
type ScenarioInfo struct {
	Name        string
	Description string
	// Rule is the id of the detection rule that must fire.
	Rule string
	// Minimum is the shortest Config.Duration that holds it.
	Minimum time.Duration
}

type scenario struct {
	name, description, rule string
	minimum                 time.Duration
	plan                    func(p *plan, r random)
}

// scenarios in a fixed order.
func scenarios() []scenario {
	return []scenario{
		{"horizontal-scan", "A workstation tries one port on hundreds of internal addresses; few answer.", RuleHorizontalScan, 15 * time.Minute, (*plan).horizontalScan},
		{"worm-445", "A worm spreads over 445: every infected host scans thousands of addresses and infects others.", RuleWormSpread, 45 * time.Minute, (*plan).worm},
		{"spam", "A workstation that is no mail server sends mail to hundreds of mail exchangers.", RuleSpamSender, 20 * time.Minute, (*plan).spam},
		{"beacon", "A workstation calls one rare host on the Internet every minute, give or take a fifth.", RuleBeacon, time.Hour, (*plan).beacon},
		{"ddos", "Thousands of sources flood a public server with SYNs that never complete.", RuleDDoSVictim, 15 * time.Minute, (*plan).ddos},
		{"tor", "A workstation uses Tor: guards on 9001 and 443, directories on 9030, random server names.", RuleTorUse, 20 * time.Minute, (*plan).tor},
	}
}

func scenarioByName(name string) (scenario, bool) {
	for _, s := range scenarios() {
		if s.name == name {
			return s, true
		}
	}
	return scenario{}, false
}

// Scenarios lists the attacks that Config.Scenarios can name.
func Scenarios() []ScenarioInfo {
	var out []ScenarioInfo
	for _, s := range scenarios() {
		out = append(out, ScenarioInfo{s.name, s.description, s.rule, s.minimum})
	}
	return out
}
