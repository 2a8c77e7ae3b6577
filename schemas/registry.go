package schemas

func releasedAs(record string, fp uint64) bool { return false }
func upgrade(record string, fp uint64, body []byte) ([]byte, error) {
	return nil, &UnknownSchemaError{Record: record, Fingerprint: fp}
}
