package enricher

import "github.com/weir-flow/weir/schemas"

// observed is what was seen of a conversation so far.
type observed struct {
	protocol uint8
	// TCP flags and presence by end.
	initiatorFlags, responderFlags uint16
	initiator, responder           bool
	// sampled: what was not seen may have been there all the same.
	sampled bool
	// expectsReply: UDP or ICMP of a kind that is answered, to one address, and
	// the reply was waited for.
	expectsReply bool
}

// connectionState says how far a conversation came, and whether the responder
// was seen to answer. Under sampling nothing is said from what is missing.
func connectionState(o observed) (state schemas.ConnectionState, answered bool) {
	if o.protocol != protoTCP {
		switch {
		case o.responder:
			return schemas.ConnectionStateANSWERED, true
		case o.expectsReply && !o.sampled:
			return schemas.ConnectionStateUNANSWERED, false
		}
		return schemas.ConnectionStateUNKNOWN, false
	}
	i, r := o.initiatorFlags, o.responderFlags
	ended := func(otherwise schemas.ConnectionState) schemas.ConnectionState {
		switch {
		case (i|r)&flagRST != 0:
			return schemas.ConnectionStateRESET
		case (i|r)&flagFIN != 0:
			return schemas.ConnectionStateCLOSED
		}
		return otherwise
	}
	if !o.responder {
		switch {
		case i&(flagSYN|flagACK) == flagSYN|flagACK:
			// Whoever sent a SYN and acknowledges something was answered, on a
			// path that no exporter watches.
			return ended(schemas.ConnectionStateESTABLISHED), true
		case o.sampled:
			return schemas.ConnectionStateUNKNOWN, false
		case i&flagSYN != 0:
			return schemas.ConnectionStateSYN_ONLY, false
		}
		return ended(schemas.ConnectionStateUNKNOWN), false
	}
	switch {
	case r == 0: // the exporter does not send flags
		return ended(schemas.ConnectionStateANSWERED), true
	case !o.sampled && r&flagRST != 0 && r&(flagSYN|flagFIN) == 0 && i&flagACK == 0 && (i&flagSYN != 0 || !o.initiator):
		return schemas.ConnectionStateREFUSED, false
	case (i|r)&flagSYN != 0 && r&flagACK != 0 && i&flagACK != 0:
		return ended(schemas.ConnectionStateESTABLISHED), true
	}
	// Half a handshake, or the middle of a connection.
	return ended(schemas.ConnectionStateANSWERED), o.sampled || r&^(flagRST|flagACK) != 0 || r&flagRST == 0
}
