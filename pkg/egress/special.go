package egress

import "net/netip"

// special is a network that is not the public internet's, by IANA's registries of special-purpose
// addresses, and what clouds use besides.
type special struct {
	network netip.Prefix
	name    string
}

// Kinds that an entry of a policy which names a host admits.
const (
	private  = "private"
	loopback = "loopback"
)

// specials are searched in this order.
var specials = func() []special {
	var all []special
	for _, s := range []struct{ network, name string }{
		{"0.0.0.0/8", "unspecified"},
		{"10.0.0.0/8", private},
		{"100.64.0.0/10", "shared by a carrier"},
		{"127.0.0.0/8", loopback},
		{"168.63.129.16/32", "a cloud's metadata"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", private},
		{"192.0.0.0/24", "reserved"},
		{"192.0.2.0/24", "reserved"},
		{"192.88.99.0/24", "a 6to4 relay"},
		{"192.168.0.0/16", private},
		{"198.18.0.0/15", "reserved"},
		{"198.51.100.0/24", "reserved"},
		{"203.0.113.0/24", "reserved"},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved"},
		{"::/128", "unspecified"},
		{"::1/128", loopback},
		{"64:ff9b::/96", "an IPv4 address within IPv6"}, // NAT64
		{"64:ff9b:1::/48", "an IPv4 address within IPv6"},
		{"2001::/23", "reserved"}, // Teredo, ORCHID
		{"2001:db8::/32", "reserved"},
		{"2002::/16", "an IPv4 address within IPv6"}, // 6to4
		{"3fff::/20", "reserved"},
		{"fd00:ec2::/32", "a cloud's metadata"},
		{"fc00::/7", private},
		{"fe80::/10", "link-local"},
		{"ff00::/8", "multicast"},
	} {
		all = append(all, special{netip.MustParsePrefix(s.network), s.name})
	}
	return all
}()

// globalIPv6 is all of IPv6 that is assigned to the public internet.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

// specialOf says what an address is that is not public; empty for a public one. A zone is none of
// the public internet's.
func specialOf(a netip.Addr) string {
	zone := a.Zone()
	a = a.Unmap().WithZone("")
	for _, s := range specials {
		if s.network.Contains(a) {
			return s.name
		}
	}
	if zone != "" || a.Is6() && !globalIPv6.Contains(a) {
		return "not of the public internet"
	}
	return ""
}
