package communityid_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/weir-flow/weir/enricher/communityid"
)

// The vectors come from the specification's reference implementation.
func TestVectors(t *testing.T) {
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		var proto uint8
		var src, dst, want string
		var sport, dport uint16
		if _, err := fmt.Sscan(s.Text(), &proto, &src, &dst, &sport, &dport, &want); err != nil {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		got := string(communityid.Append(nil, netip.MustParseAddr(src), netip.MustParseAddr(dst), sport, dport, proto))
		if got != want {
			t.Errorf("%s (-got, +want)\n- %s\n+ %s", s.Text(), got, want)
		}
		n++
	}
	if n < 100 {
		t.Errorf("only %d vectors read", n)
	}
}

func TestNothingToSay(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, pair := range [][2]netip.Addr{{{}, v4}, {v4, {}}, {v4, v6}} {
		if got := communityid.Append(nil, pair[0], pair[1], 1, 2, 6); len(got) != 0 {
			t.Errorf("%v: got %s, want nothing", pair, got)
		}
	}
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	a := communityid.Append(nil, mapped, v4.Next(), 1, 2, 6)
	b := communityid.Append(nil, v4, v4.Next(), 1, 2, 6)
	if string(a) != string(b) {
		t.Errorf("an IPv4-mapped address differs (-got, +want)\n- %s\n+ %s", a, b)
	}
}

func BenchmarkAppend(b *testing.B) {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	buf := make([]byte, 0, communityid.Len)
	b.ReportAllocs()
	for b.Loop() {
		buf = communityid.Append(buf[:0], src, dst, 40000, 443, 6)
	}
}
