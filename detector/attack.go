package detector

import (
	"regexp"
	"slices"
	"strings"
)

var placeholder = regexp.MustCompile(`\{[a-z][a-z0-9_.]*\}`)

// tacticName returns the name of a tactic of ATT&CK for Enterprise.
func tacticName(id string) string {
	switch id {
	case "TA0043":
		return "Reconnaissance"
	case "TA0042":
		return "Resource Development"
	case "TA0001":
		return "Initial Access"
	case "TA0002":
		return "Execution"
	case "TA0003":
		return "Persistence"
	case "TA0004":
		return "Privilege Escalation"
	case "TA0005":
		return "Defense Evasion"
	case "TA0006":
		return "Credential Access"
	case "TA0007":
		return "Discovery"
	case "TA0008":
		return "Lateral Movement"
	case "TA0009":
		return "Collection"
	case "TA0010":
		return "Exfiltration"
	case "TA0011":
		return "Command and Control"
	case "TA0040":
		return "Impact"
	}
	return ""
}

// techniqueName returns the name of a technique that network traffic shows;
// others go without.
func techniqueName(id string) string {
	switch id {
	case "T1018":
		return "Remote System Discovery"
	case "T1021":
		return "Remote Services"
	case "T1021.001":
		return "Remote Desktop Protocol"
	case "T1021.002":
		return "SMB/Windows Admin Shares"
	case "T1030":
		return "Data Transfer Size Limits"
	case "T1041":
		return "Exfiltration Over C2 Channel"
	case "T1046":
		return "Network Service Discovery"
	case "T1048":
		return "Exfiltration Over Alternative Protocol"
	case "T1071":
		return "Application Layer Protocol"
	case "T1071.001":
		return "Web Protocols"
	case "T1071.003":
		return "Mail Protocols"
	case "T1071.004":
		return "DNS"
	case "T1090":
		return "Proxy"
	case "T1090.003":
		return "Multi-hop Proxy"
	case "T1095":
		return "Non-Application Layer Protocol"
	case "T1110":
		return "Brute Force"
	case "T1110.001":
		return "Password Guessing"
	case "T1110.003":
		return "Password Spraying"
	case "T1133":
		return "External Remote Services"
	case "T1210":
		return "Exploitation of Remote Services"
	case "T1496":
		return "Resource Hijacking"
	case "T1496.002":
		return "Bandwidth Hijacking"
	case "T1498":
		return "Network Denial of Service"
	case "T1498.001":
		return "Direct Network Flood"
	case "T1498.002":
		return "Reflection Amplification"
	case "T1499":
		return "Endpoint Denial of Service"
	case "T1568":
		return "Dynamic Resolution"
	case "T1568.002":
		return "Domain Generation Algorithms"
	case "T1570":
		return "Lateral Tool Transfer"
	case "T1571":
		return "Non-Standard Port"
	case "T1572":
		return "Protocol Tunneling"
	case "T1573":
		return "Encrypted Channel"
	}
	return ""
}

func (a *docATT) add(id, name, reference string) {
	if slices.Contains(a.ID, id) {
		return
	}
	a.ID, a.Reference = append(a.ID, id), append(a.Reference, reference)
	if name == "" {
		name = id // ids and names stand in parallel
	}
	a.Name = append(a.Name, name)
}

// threat places an alert in ATT&CK.
func threat(r *Rule) *docThreat {
	if len(r.Attack) == 0 {
		return nil
	}
	t := &docThreat{Framework: "MITRE ATT&CK"}
	sub := &docATT{}
	for _, a := range r.Attack {
		t.Tactic.add(a.Tactic, tacticName(a.Tactic), "https://attack.mitre.org/tactics/"+a.Tactic+"/")
		for _, id := range a.Techniques {
			parent, child, isSub := strings.Cut(id, ".")
			t.Technique.add(parent, techniqueName(parent), "https://attack.mitre.org/techniques/"+parent+"/")
			if isSub {
				sub.add(id, techniqueName(id), "https://attack.mitre.org/techniques/"+parent+"/"+child+"/")
			}
		}
	}
	if len(sub.ID) > 0 {
		t.Technique.Subtechnique = sub
	}
	return t
}
