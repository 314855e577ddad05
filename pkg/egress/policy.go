package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Policy says where requests may go. The zero value admits public addresses by https, at the ports
// of Ports.
type Policy struct {
	networks []netip.Prefix
	hosts    []string
}

// Ports are those of public addresses that are reached. What is overridden has any port.
var Ports = []uint16{443, 8443}

// ParsePolicy reads what is admitted besides public addresses: addresses, networks as
// 10.1.0.0/16, and names of hosts, separated by commas. Such a destination may have any port and be
// reached by plain http. A name admits private and loopback addresses; those of link-local and other
// special networks, among them the ones where clouds serve metadata, only an entry that names them.
func ParsePolicy(text string) (Policy, error) {
	var p Policy
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if network, err := netip.ParsePrefix(entry); err == nil {
			p.networks = append(p.networks, network.Masked())
		} else if address, err := netip.ParseAddr(entry); err == nil && address.Zone() == "" {
			address = address.Unmap()
			p.networks = append(p.networks, netip.PrefixFrom(address, address.BitLen()))
		} else if isName(entry) {
			p.hosts = append(p.hosts, plainName(entry))
		} else {
			return Policy{}, fmt.Errorf("%q is no address, network or host name; write 10.1.0.0/16 or hooks.example.com, without scheme and port", entry)
		}
	}
	return p, nil
}

// PolicyOf reads USHER_EGRESS_ALLOW, in the form of ParsePolicy.
func PolicyOf(getenv func(string) string) (Policy, error) {
	p, err := ParsePolicy(getenv("USHER_EGRESS_ALLOW"))
	if err != nil {
		return Policy{}, fmt.Errorf("USHER_EGRESS_ALLOW: %w", err)
	}
	return p, nil
}

func isName(s string) bool {
	return len(s) <= 253 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" &&
		strings.ContainsAny(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz")
}

// plainName is the one form of a name that DNS takes as the same.
func plainName(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// RefusedError says why a destination is not reached.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "destination refused: " + e.Reason }

// filter returns the addresses of a host that may be reached at a port, and why the last of the
// others may not.
func (p Policy) filter(host string, port uint16, plain bool, found []netip.Addr) (admitted []netip.Addr, refused error) {
	refused = &RefusedError{Reason: "the name has no address"}
	for _, a := range found {
		if reason := p.refusal(host, port, plain, a); reason != "" {
			refused = &RefusedError{Reason: reason}
			continue
		}
		admitted = append(admitted, a)
	}
	return admitted, refused
}

// refusal is why an address of a host may not be reached; empty where it may.
func (p Policy) refusal(host string, port uint16, plain bool, a netip.Addr) string {
	special := specialOf(a)
	switch {
	case a.Zone() != "":
		return "its address is " + special
	case slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(a) }):
		return ""
	case slices.Contains(p.hosts, plainName(host)) && (special == "" || special == private || special == loopback):
		return ""
	case special != "":
		return "its address is " + special
	case plain:
		return "it needs https"
	case !slices.Contains(Ports, port):
		return fmt.Sprintf("port %d is not one of %v", port, Ports)
	}
	return ""
}

const longestURL = 2048

// Check tells whoever enters a URL what is wrong with it, as far as that can be known now: a
// request decides anew. A name that does not resolve now is not wrong. The error is a *RefusedError.
func (p Policy) Check(ctx context.Context, by Resolver, raw string) error {
	if len(raw) > longestURL {
		return &RefusedError{Reason: fmt.Sprintf("the URL is longer than %d characters", longestURL)}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return &RefusedError{Reason: "it is not a URL such as https://example.com/hooks"}
	}
	if err := checkForm(u); err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	_, n, err := splitAddress(net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	if by == nil {
		by = net.DefaultResolver
	}
	found, unknown := lookUp(ctx, by, u.Hostname())
	if admitted, refused := p.filter(u.Hostname(), n, u.Scheme == "http", found); unknown == nil && len(admitted) == 0 {
		return refused
	}
	return nil
}

func checkForm(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return &RefusedError{Reason: "the scheme is not https"}
	case u.Hostname() == "" || u.Opaque != "":
		return &RefusedError{Reason: "it names no host"}
	case u.User != nil:
		return &RefusedError{Reason: "it has a user name or password"}
	case u.Fragment != "":
		return &RefusedError{Reason: "it has a fragment"}
	}
	return nil
}
