package decode

import "github.com/weir-flow/weir/collector/ie"

// code says what a plan does with a field.
type code uint8

const (
	cExtra code = iota
	cSkip
	cOption // any field of an options record
	cSourceAddr
	cDestinationAddr
	cSourcePort
	cDestinationPort
	cProtocol
	cFlags
	cFlagsOr
	cTos
	cDSCP
	cIcmp
	cIcmpType
	cIcmpCode
	cOctets
	cPackets
	cReverseOctets
	cReversePackets
	cReverseFlags
	cReverseFlagsOr
	cDroppedOctets
	cDroppedPackets
	cIngress
	cEgress
	cDirection
	cSourceAS
	cDestinationAS
	cNextHop
	cBGPNextHop
	cSourcePrefix
	cDestinationPrefix
	cVlan
	cPostVlan
	cSourceMAC
	cDestinationMAC
	cMPLS
	cIngressVRF
	cEgressVRF
	cNATSource
	cNATDestination
	cNATSourcePort
	cNATDestinationPort
	cNATEvent
	cFirewallEvent
	cEndReason
	cFlowLabel
	cMinTTL
	cMaxTTL
	cTTL
	cApplicationID
	cApplicationName
	cUser
	cExporter

	cStartUptime
	cEndUptime
	cStartSeconds
	cEndSeconds
	cStartMilliseconds
	cEndMilliseconds
	cStartMicroseconds
	cEndMicroseconds
	cStartNanoseconds
	cEndNanoseconds
	cStartDelta
	cEndDelta
	cDurationMilliseconds
	cDurationMicroseconds
	cInitTime
	cObservedSeconds
	cObservedMilliseconds
	cObservedMicroseconds
	cObservedNanoseconds

	cSamplerID
	cInterval
	cAlgorithm
	cSelectorAlgorithm
	cPacketInterval
	cPacketSpace
	cSampleSize
	cPopulation
	cProbability

	cDNSName
	cDNSType
	cDNSCode
	cDNSResponse
	cDNSID
	cDNSAnswers // how many
	cDNSAddress
	cDNSText
	cDNSAnswerType
	cDNSAnswerTTL
	cTLSName
	cTLSVersion
	cTLSCipher
	cJA3
	cJA3S
	cJA4
	cCertSubject
	cCertIssuer
	cCertNotBefore
	cCertNotAfter
	cCertHash
	cALPN
	cHTTPHost
	cCiscoHost
	cURL
	cMethod
	cStatus
	cUserAgent
	cContentType
	cReferer
)

// slot is a target that takes one value only: the code it stands for, of all
// that feed it. Lists and addresses of two families have none.
type slot = code

const noSlot slot = cExtra

// note says what finishing a record has to look at.
type note uint16

const (
	nTime note = 1 << iota
	nSampling
	nApplication
	nDNS
)

type target struct {
	code code
	slot slot
	prio uint8 // the smallest wins
	keep bool  // also kept as an extra: the field does not say it all
	note note
}

type targetKey struct {
	pen uint32
	id  uint16
}

// targetOf returns what a field of a data record is for.
func targetOf(space ie.Space, pen uint32, id uint16) (target, bool) {
	t, ok := targets[targetKey{pen, id}]
	if space == ie.NetFlowV9 && pen == 0 {
		switch {
		case id >= 57472: // ntop's, as in its IPFIX shifted by this much
			t, ok = targets[targetKey{35632, id - 57472}]
		case id >= 32768:
			t, ok = v9Targets[id]
		}
	}
	return t, ok
}

func one(c code) target               { return target{code: c, slot: c} }
func in(c, s code, prio uint8) target { return target{code: c, slot: s, prio: prio} }
func many(c code) target              { return target{code: c, slot: noSlot} }
func (t target) kept() target         { t.keep = true; return t }
func (t target) with(n note) target   { t.note |= n; return t }
func clock(c, s code, p uint8) target { return in(c, s, p).with(nTime) }
func sampled(c code, p uint8) target  { return in(c, cInterval, p).with(nSampling) }
func question(c code, p uint8) target { return in(c, c, p).with(nDNS) }
func answer(c code) target            { return many(c).with(nDNS) }

// targets say which element feeds which field, best first where several do
// (octets: 1, 85, 23, 352).
var targets = map[targetKey]target{
	{0, 1}: in(cOctets, cOctets, 0), {0, 85}: in(cOctets, cOctets, 1), {0, 23}: in(cOctets, cOctets, 2), {0, 352}: in(cOctets, cOctets, 3),
	{0, 231}: in(cOctets, cOctets, 4),
	{0, 2}:   in(cPackets, cPackets, 0), {0, 86}: in(cPackets, cPackets, 1), {0, 24}: in(cPackets, cPackets, 2), {0, 298}: in(cPackets, cPackets, 4),
	{0, 232}: in(cReverseOctets, cReverseOctets, 4), {0, 299}: in(cReversePackets, cReversePackets, 4),
	{29305, 1}: in(cReverseOctets, cReverseOctets, 0), {29305, 85}: in(cReverseOctets, cReverseOctets, 1),
	{29305, 2}: in(cReversePackets, cReversePackets, 0), {29305, 86}: in(cReversePackets, cReversePackets, 1),
	{29305, 6}: one(cReverseFlags),
	{0, 4}:     one(cProtocol), {0, 5}: one(cTos), {0, 195}: in(cDSCP, cTos, 1),
	{0, 6}: one(cFlags),
	// YAF sends the flags of the first packet and of all others.
	{6871, 14}: many(cFlagsOr).kept(), {6871, 15}: many(cFlagsOr).kept(),
	{6871, 16398}: many(cReverseFlagsOr).kept(), {6871, 16399}: many(cReverseFlagsOr).kept(),
	{0, 7}: one(cSourcePort), {0, 180}: in(cSourcePort, cSourcePort, 1), {0, 182}: in(cSourcePort, cSourcePort, 1),
	{0, 11}: one(cDestinationPort), {0, 181}: in(cDestinationPort, cDestinationPort, 1), {0, 183}: in(cDestinationPort, cDestinationPort, 1),
	{0, 8}: many(cSourceAddr), {0, 27}: many(cSourceAddr), {0, 12}: many(cDestinationAddr), {0, 28}: many(cDestinationAddr),
	{0, 9}: many(cSourcePrefix), {0, 29}: many(cSourcePrefix), {0, 13}: many(cDestinationPrefix), {0, 30}: many(cDestinationPrefix),
	{0, 10}: one(cIngress), {0, 14}: one(cEgress), {0, 61}: one(cDirection),
	{0, 15}: many(cNextHop), {0, 62}: many(cNextHop), {0, 18}: many(cBGPNextHop), {0, 63}: many(cBGPNextHop),
	{0, 16}: one(cSourceAS), {0, 17}: one(cDestinationAS),
	{0, 31}: one(cFlowLabel),
	{0, 32}: many(cIcmp), {0, 139}: many(cIcmp),
	{0, 176}: many(cIcmpType), {0, 178}: many(cIcmpType), {0, 177}: many(cIcmpCode), {0, 179}: many(cIcmpCode),
	{0, 52}: one(cMinTTL), {0, 53}: one(cMaxTTL), {0, 192}: many(cTTL).kept(),
	{0, 56}: one(cSourceMAC), {0, 80}: one(cDestinationMAC),
	{0, 58}: one(cVlan), {0, 243}: in(cVlan, cVlan, 1), {0, 59}: one(cPostVlan), {0, 254}: in(cPostVlan, cPostVlan, 1),
	{0, 70}: many(cMPLS), {0, 71}: many(cMPLS), {0, 72}: many(cMPLS), {0, 73}: many(cMPLS), {0, 74}: many(cMPLS),
	{0, 75}: many(cMPLS), {0, 76}: many(cMPLS), {0, 77}: many(cMPLS), {0, 78}: many(cMPLS), {0, 79}: many(cMPLS),
	{0, 130}: many(cExporter), {0, 131}: many(cExporter),
	{0, 132}: one(cDroppedOctets), {0, 133}: one(cDroppedPackets),
	{0, 136}: one(cEndReason), {0, 210}: many(cSkip),
	{0, 225}: many(cNATSource), {0, 281}: many(cNATSource), {0, 226}: many(cNATDestination), {0, 282}: many(cNATDestination),
	{0, 227}: one(cNATSourcePort), {0, 228}: one(cNATDestinationPort), {0, 230}: one(cNATEvent), {0, 233}: one(cFirewallEvent),
	{0, 234}: one(cIngressVRF), {0, 235}: one(cEgressVRF),
	{0, 95}: one(cApplicationID).with(nApplication), {0, 96}: one(cApplicationName),
	{0, 371}: one(cUser),

	{0, 152}: clock(cStartMilliseconds, cStartMilliseconds, 0), {0, 153}: clock(cEndMilliseconds, cEndMilliseconds, 0),
	{0, 156}: clock(cStartNanoseconds, cStartMilliseconds, 1), {0, 157}: clock(cEndNanoseconds, cEndMilliseconds, 1),
	{0, 154}: clock(cStartMicroseconds, cStartMilliseconds, 2), {0, 155}: clock(cEndMicroseconds, cEndMilliseconds, 2),
	{0, 150}: clock(cStartSeconds, cStartMilliseconds, 3), {0, 151}: clock(cEndSeconds, cEndMilliseconds, 3),
	{0, 158}: clock(cStartDelta, cStartMilliseconds, 4), {0, 159}: clock(cEndDelta, cEndMilliseconds, 4),
	{0, 22}: clock(cStartUptime, cStartMilliseconds, 5), {0, 21}: clock(cEndUptime, cEndMilliseconds, 5),
	{0, 161}: clock(cDurationMilliseconds, cDurationMilliseconds, 0).kept(), {0, 162}: clock(cDurationMicroseconds, cDurationMilliseconds, 1).kept(),
	{0, 160}: clock(cInitTime, cInitTime, 0).kept(),
	{0, 323}: clock(cObservedMilliseconds, cObservedMilliseconds, 0).kept(), {0, 322}: clock(cObservedSeconds, cObservedMilliseconds, 3).kept(),
	{0, 324}: clock(cObservedMicroseconds, cObservedMilliseconds, 2).kept(), {0, 325}: clock(cObservedNanoseconds, cObservedMilliseconds, 1).kept(),

	{0, 34}: sampled(cInterval, 0), {0, 50}: sampled(cInterval, 1), {0, 35}: in(cAlgorithm, cAlgorithm, 0).with(nSampling), {0, 49}: in(cAlgorithm, cAlgorithm, 1).with(nSampling),
	{0, 304}: in(cSelectorAlgorithm, cAlgorithm, 2).with(nSampling),
	{0, 48}:  in(cSamplerID, cSamplerID, 0).with(nSampling).kept(), {0, 302}: in(cSamplerID, cSamplerID, 1).with(nSampling).kept(),
	{0, 305}: one(cPacketInterval).with(nSampling).kept(), {0, 306}: one(cPacketSpace).with(nSampling).kept(),
	{0, 309}: one(cSampleSize).with(nSampling).kept(), {0, 310}: one(cPopulation).with(nSampling).kept(), {0, 311}: one(cProbability).with(nSampling).kept(),

	// HTTP of the IANA registry.
	{0, 457}: one(cStatus), {0, 459}: one(cMethod), {0, 460}: one(cHTTPHost), {0, 461}: one(cURL), {0, 468}: one(cUserAgent), {0, 469}: one(cContentType),

	// Cisco AVC.
	{9, 12235}: in(cCiscoHost, cHTTPHost, 0), {9, 12180}: one(cTLSVersion).kept(),

	// ntop (also in v9, shifted).
	{35632, 180}: one(cURL), {35632, 181}: one(cStatus), {35632, 182}: one(cReferer), {35632, 183}: one(cUserAgent), {35632, 184}: one(cContentType),
	{35632, 187}: one(cHTTPHost), {35632, 360}: one(cMethod), {35632, 361}: in(cHTTPHost, cHTTPHost, 1),
	{35632, 188}: one(cTLSName), {35632, 489}: one(cJA3), {35632, 490}: one(cJA3S), {35632, 576}: one(cJA4), {35632, 493}: one(cTLSCipher), {35632, 495}: one(cTLSVersion),
	{35632, 205}: question(cDNSName, 0), {35632, 206}: question(cDNSID, 0), {35632, 207}: question(cDNSType, 0), {35632, 208}: question(cDNSCode, 0),
	{35632, 209}: question(cDNSAnswers, 0).kept(), {35632, 352}: answer(cDNSAnswerTTL), {35632, 398}: answer(cDNSText),
	{35632, 121}: in(cUser, cUser, 1),

	// CESNET, ipfixprobe.
	{8057, 1}: question(cDNSCode, 0), {8057, 2}: question(cDNSName, 0), {8057, 3}: question(cDNSType, 0), {8057, 5}: answer(cDNSAnswerTTL),
	{8057, 7}: answer(cDNSText), {8057, 10}: question(cDNSID, 0), {8057, 11}: answer(cDNSAnswerType), {8057, 12}: answer(cDNSAddress), {8057, 13}: answer(cDNSAddress),
	{8057, 14}:  question(cDNSAnswers, 0).kept(),
	{8057, 200}: one(cMethod), {8057, 801}: one(cHTTPHost), {8057, 808}: one(cTLSName), {8057, 890}: in(cTLSName, cTLSName, 1),
	{8057, 830}: one(cJA3), {8057, 891}: in(cUserAgent, cUserAgent, 1),
	{8057, 853}: in(cUser, cUser, 1),

	// Flowmon, which ipfixprobe follows for HTTP and TLS.
	{39499, 1}: one(cHTTPHost), {39499, 2}: one(cURL), {39499, 3}: one(cReferer), {39499, 10}: one(cContentType), {39499, 12}: one(cStatus), {39499, 20}: one(cUserAgent),
	{39499, 110}: question(cDNSID, 0), {39499, 121}: question(cDNSName, 0), {39499, 122}: question(cDNSType, 0), {39499, 113}: question(cDNSAnswers, 0).kept(),
	{39499, 111}: question(cDNSResponse, 0).kept(), {39499, 117}: answer(cDNSAnswerType), {39499, 119}: answer(cDNSAnswerTTL),
	{39499, 333}: one(cTLSVersion), {39499, 340}: in(cTLSVersion, cTLSVersion, 1), {39499, 336}: one(cTLSCipher), {39499, 337}: one(cALPN), {39499, 338}: one(cTLSName),
	{39499, 349}: one(cCertIssuer), {39499, 350}: one(cCertSubject), {39499, 352}: one(cCertNotBefore), {39499, 353}: one(cCertNotAfter),
	{39499, 357}: one(cJA3), {39499, 358}: one(cJA4), {39499, 7232}: in(cUser, cUser, 1),

	// CERT, YAF (flat records; lists keep their names in extra).
	{6871, 179}: question(cDNSName, 0), {6871, 175}: question(cDNSType, 0), {6871, 177}: question(cDNSCode, 0), {6871, 174}: question(cDNSResponse, 0).kept(), {6871, 226}: question(cDNSID, 0),
	{6871, 302}: answer(cDNSAddress), {6871, 303}: answer(cDNSAddress), {6871, 180}: answer(cDNSText), {6871, 199}: answer(cDNSAnswerTTL),
	{6871, 294}: one(cTLSName), {6871, 288}: one(cTLSVersion), {6871, 187}: one(cTLSCipher), {6871, 298}: one(cCertHash),
	{6871, 196}: one(cCertIssuer), {6871, 205}: one(cCertSubject), {6871, 247}: one(cCertNotBefore), {6871, 248}: one(cCertNotAfter),
	{6871, 117}: one(cHTTPHost), {6871, 112}: one(cURL), {6871, 111}: one(cUserAgent), {6871, 115}: one(cReferer), {6871, 122}: one(cContentType),

	// Ixia IxFlow.
	{3054, 182}: one(cUserAgent), {3054, 183}: one(cHTTPHost), {3054, 184}: one(cURL), {3054, 227}: one(cReferer), {3054, 201}: one(cTLSName),
	{3054, 189}: question(cDNSName, 0), {3054, 273}: question(cDNSName, 1), {3054, 190}: answer(cDNSText), {3054, 254}: question(cDNSID, 0), {3054, 257}: question(cDNSCode, 0), {3054, 272}: question(cDNSType, 0),
	{3054, 199}: answer(cDNSAddress), {3054, 200}: answer(cDNSAddress), {3054, 245}: one(cCertNotBefore), {3054, 246}: one(cCertNotAfter),

	// Nokia.
	{637, 163}: one(cURL), {637, 165}: one(cReferer), {637, 166}: one(cUserAgent), {637, 168}: one(cMethod), {637, 169}: one(cStatus), {637, 170}: one(cContentType),

	// Citrix NetScaler.
	{5951, 130}: one(cURL), {5951, 140}: one(cReferer), {5951, 141}: one(cMethod), {5951, 142}: one(cHTTPHost), {5951, 143}: one(cUserAgent), {5951, 144}: one(cStatus),
	{5951, 183}: one(cContentType), {5951, 205}: in(cUser, cUser, 1),

	// SonicWall.
	{8741, 35}: in(cUser, cUser, 1), {8741, 59}: one(cURL),

	// Sandvine (Procera).
	{15397, 19}: one(cMethod), {15397, 20}: one(cUserAgent), {15397, 21}: one(cContentType), {15397, 22}: one(cURL), {15397, 23}: one(cReferer), {15397, 24}: one(cStatus),

	// Masaryk University.
	{16982, 102}: in(cHTTPHost, cHTTPHost, 1), {16982, 103}: in(cReferer, cReferer, 1), {16982, 105}: in(cURL, cURL, 1), {16982, 106}: in(cStatus, cStatus, 1),
	{16982, 501}: one(cHTTPHost), {16982, 502}: one(cURL), {16982, 504}: one(cUserAgent), {16982, 505}: one(cReferer), {16982, 506}: one(cStatus), {16982, 507}: one(cContentType),
	{16982, 800}: in(cTLSVersion, cTLSVersion, 1), {16982, 801}: one(cTLSVersion), {16982, 802}: one(cTLSCipher), {16982, 804}: one(cCertSubject), {16982, 805}: one(cCertIssuer),
	{16982, 806}: one(cCertNotBefore), {16982, 807}: one(cCertNotAfter), {16982, 811}: one(cTLSName),

	// HPE Aruba (Silver Peak).
	{23867, 8}: one(cHTTPHost),

	// Gigamon.
	{26866, 1}: one(cURL), {26866, 2}: one(cStatus), {26866, 3}: one(cUserAgent), {26866, 4676}: one(cHTTPHost), {26866, 4721}: in(cURL, cURL, 1), {26866, 4745}: in(cURL, cURL, 2),
	{26866, 2237}: one(cMethod), {26866, 2250}: in(cUserAgent, cUserAgent, 1),
	{26866, 102}: one(cCertSubject), {26866, 104}: in(cCertSubject, cCertSubject, 1), {26866, 103}: one(cCertIssuer), {26866, 105}: one(cCertNotBefore), {26866, 106}: one(cCertNotAfter),
	{26866, 112}: one(cTLSName), {26866, 113}: one(cTLSVersion), {26866, 114}: one(cTLSCipher),
	{26866, 201}: question(cDNSID, 0), {26866, 203}: question(cDNSCode, 0), {26866, 204}: question(cDNSName, 0), {26866, 1958}: question(cDNSName, 1), {26866, 214}: question(cDNSType, 0),
	{26866, 206}: answer(cDNSAnswerTTL), {26866, 207}: answer(cDNSAddress), {26866, 208}: answer(cDNSAddress), {26866, 211}: question(cDNSAnswers, 0).kept(), {26866, 216}: answer(cDNSAnswerType),
	{26866, 219}: answer(cDNSText),

	// Niagara Networks.
	{47729, 100}: one(cTLSName), {47729, 101}: one(cTLSVersion), {47729, 103}: one(cTLSCipher), {47729, 109}: in(cCertIssuer, cCertIssuer, 1), {47729, 108}: one(cCertIssuer),
	{47729, 110}: one(cCertSubject), {47729, 111}: in(cCertSubject, cCertSubject, 1), {47729, 112}: one(cCertNotBefore), {47729, 113}: one(cCertNotAfter), {47729, 122}: one(cCertHash),
	{47729, 200}: question(cDNSID, 0), {47729, 202}: question(cDNSCode, 0), {47729, 203}: question(cDNSName, 0), {47729, 215}: question(cDNSType, 0), {47729, 212}: question(cDNSAnswers, 0).kept(),
	{47729, 205}: answer(cDNSAnswerTTL), {47729, 224}: answer(cDNSText), {47729, 219}: answer(cDNSAnswerType),
}

// v9Targets are vendors' numbers above the IANA registry's, in v9 only.
var v9Targets = map[uint16]target{
	// Cisco ASA NSEL before it used the registry's numbers.
	40000: in(cUser, cUser, 0), 40001: many(cNATSource), 40002: many(cNATDestination), 40003: in(cNATSourcePort, cNATSourcePort, 1),
	40004: in(cNATDestinationPort, cNATDestinationPort, 1), 40005: in(cFirewallEvent, cFirewallEvent, 1),
	// Cisco AVC: 32768 + its IPFIX id.
	45003: in(cCiscoHost, cHTTPHost, 0),
	// Palo Alto.
	56701: in(cApplicationName, cApplicationName, 1), 56702: in(cUser, cUser, 0),
}
