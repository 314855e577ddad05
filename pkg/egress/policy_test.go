package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyPublicAddressesAreAdmitted(t *testing.T) {
	for address, want := range map[string]string{
		"93.184.215.14": "", "2606:2800:21f:cb07:6820:80da:af6b:8b2c": "", "::ffff:93.184.215.14": "", "100.128.0.1": "", "172.32.0.1": "",
		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "10.255.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private",
		"192.168.0.1": "private", "127.0.0.1": "loopback", "127.255.255.254": "loopback", "169.254.169.254": "link-local",
		"100.64.0.1": "carrier", "100.127.255.255": "carrier", "100.100.100.200": "carrier", "168.63.129.16": "metadata",
		"192.0.0.192": "reserved", "192.0.2.1": "reserved", "198.18.0.1": "reserved", "198.19.255.255": "reserved", "203.0.113.9": "reserved",
		"224.0.0.1": "multicast", "239.1.1.1": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "reserved", "192.88.99.1": "6to4",
		"::": "unspecified", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "link-local",
		"::7f00:1": "not of the public", "64:ff9b::7f00:1": "within IPv6", "64:ff9b::5db8:d70e": "within IPv6", "64:ff9b:1::1": "within IPv6",
		"2002:7f00:1::": "within IPv6", "2002:5db8:d70e::1": "within IPv6", "2001:0:1::1": "reserved", "2001:db8::1": "reserved", "3fff::1": "reserved",
		"fc00::1": "private", "fd00:ec2::254": "metadata", "fd00::1": "private", "fe80::1": "link-local", "fe80::1%eth0": "link-local", "fec0::1": "not of the public",
		"ff02::1": "multicast", "100::1": "not of the public", "5f00::1": "not of the public", "2606:2800::1%eth0": "not of the public",
	} {
		got := Policy{}.refusal("example.com", 443, false, netip.MustParseAddr(address))
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestWhatIsOverriddenIsAdmittedAtAnyPortAndWithoutTLS(t *testing.T) {
	for name, test := range map[string]struct {
		policy, host, address string
		port                  uint16
		plain, want           bool
	}{
		"a public address at 443":                   {"", "a.test", "93.184.215.14", 443, false, true},
		"a public address at 8443":                  {"", "a.test", "93.184.215.14", 8443, false, true},
		"a public address at another port":          {"", "a.test", "93.184.215.14", 22, false, false},
		"a public address without TLS":              {"", "a.test", "93.184.215.14", 443, true, false},
		"a network that is named":                   {"127.0.0.0/8", "a.test", "127.0.0.1", 9000, true, true},
		"another than the one that is named":        {"127.0.0.0/8", "a.test", "10.0.0.1", 443, false, false},
		"a network named by one of its addresses":   {"10.1.2.3/8", "a.test", "10.9.9.9", 80, true, true},
		"an address that is named":                  {"10.1.2.3", "a.test", "10.1.2.3", 80, true, true},
		"its neighbour":                             {"10.1.2.3", "a.test", "10.1.2.4", 443, false, false},
		"an address named in its other form":        {"::ffff:10.1.2.3", "a.test", "10.1.2.3", 443, false, true},
		"a host that is named":                      {"10.0.0.0/24, A.Test", "a.test.", "192.168.1.1", 80, true, true},
		"a host under the one that is named":        {"a.test", "b.a.test", "192.168.1.1", 443, false, false},
		"a host that is named, at metadata":         {"a.test", "a.test", "169.254.169.254", 80, true, false},
		"a host that is named, at metadata by IPv6": {"a.test", "a.test", "fe80::1", 80, true, false},
		"a host that is named, at a cloud's":        {"a.test", "a.test", "fd00:ec2::254", 80, true, false},
		"metadata that is named":                    {"169.254.169.254", "a.test", "169.254.169.254", 80, true, true},
		"a named network in a zone":                 {"fe80::/10", "a.test", "fe80::1%eth0", 80, true, false},
	} {
		p, err := ParsePolicy(test.policy)
		if err != nil {
			t.Fatal(err)
		}
		reason := p.refusal(test.host, test.port, test.plain, netip.MustParseAddr(test.address))
		if (reason == "") != test.want {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

func TestAURLIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	by := &names{are: map[string][][]string{
		"a.test": {{"93.184.215.14"}}, "inside.test": {{"10.0.0.1"}}, "127.1": {{"127.0.0.1"}}, "2130706433": {{"127.0.0.1"}}, "empty.test": {{}},
	}}
	for url, want := range map[string]string{
		"https://a.test/hooks":                          "",
		"https://a.test:8443/hooks?a=b":                 "",
		"https://unknown.test/":                         "", // may resolve later
		"http://a.test/":                                "needs https",
		"https://inside.test/":                          "private",
		"https://empty.test/":                           "no address",
		"https://127.1/":                                "loopback",
		"https://2130706433/":                           "loopback",
		"https://[::1]/":                                "loopback",
		"https://[::ffff:10.0.0.1]/":                    "private",
		"https://a.test:22/":                            "port 22",
		"https://a.test:99999/":                         "not a number",
		"https://user:secret@a.test/":                   "user name",
		"https://a.test/#part":                          "fragment",
		"https:///path":                                 "no host",
		"gopher://a.test/":                              "scheme",
		"//a.test/":                                     "scheme",
		"https://a b/":                                  "not a URL",
		"https:a.test":                                  "no host",
		"https://a.test/" + strings.Repeat("x", 1<<11):  "longer",
		"https://[fe80::1%25eth0]/":                     "link-local",
		"https://a.test\u0000/":                         "not a URL",
		"https://169.254.169.254/latest/meta-data/iam/": "link-local",
	} {
		err := Policy{}.Check(t.Context(), by, url)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestAPolicyThatCannotBeReadIsRefusedWithItsMend(t *testing.T) {
	for _, text := range []string{"10.0.0.0/33", "https://a.test", "a.test:80", "*.a.test", "fe80::1%eth0", "1.2.3", "a b"} {
		if _, err := ParsePolicy(text); err == nil || !strings.Contains(err.Error(), "without scheme and port") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParsePolicy(" , "); err != nil {
		t.Errorf("none: %v", err)
	}
}

func FuzzPolicyAdmitsNothingSpecialThatItDoesNotName(f *testing.F) {
	f.Add("10.0.0.0/8,a.test", "a.test", []byte{169, 254, 169, 254})
	f.Add("", "127.0.0.1", []byte{127, 0, 0, 1})
	f.Fuzz(func(t *testing.T, text, host string, raw []byte) {
		address, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if reason := p.refusal(host, 443, false, address); reason != "" || specialOf(address) == "" {
			return
		}
		named := specialOf(address) == private || specialOf(address) == loopback
		for _, n := range p.networks {
			named = named || n.Contains(address)
		}
		if len(p.networks)+len(p.hosts) == 0 || !named {
			t.Errorf("%q admits %v for %q", text, address, host)
		}
	})
}
