package service

import "testing"

func TestName(t *testing.T) {
	table, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		protocol uint8
		port     uint16
		want     string
	}{
		{6, 443, "https"}, {6, 25, "smtp"}, {17, 53, "domain"}, {6, 445, "microsoft-ds"}, {17, 123, "ntp"}, {6, 3389, "ms-wbt-server"},
		{6, 22, "ssh"}, {17, 22, ""}, {6, 50000, ""}, {1, 443, ""}, {6, 0, ""}, {6, 65535, ""},
	} {
		if got := table.Name(tc.protocol, tc.port); got != tc.want {
			t.Errorf("protocol %d port %d (-got, +want)\n- %q\n+ %q", tc.protocol, tc.port, got, tc.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"http eighty tcp", "http 80", "http 65536 tcp", "http 80 smoke"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
