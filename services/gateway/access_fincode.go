package gateway

import (
	"net"
	"net/http"
	"strings"

	"github.com/usherhq/usher/pkg/tenant"
)

// fincodeDomain is the vendor's: each tenant has a label of its own before it.
const fincodeDomain = ".fincode.software"

// enterFincode is enter for the Fincode dialect, whose tenants can do without a token and can be
// named by the host. A tenant that is not there, has not the dialect or is named twice in
// different ways answers 404.
func (a *access) enterFincode(r *http.Request) (caller, *failure) {
	t, f := a.fincodeTenant(r)
	if f != nil {
		return caller{}, f
	}
	if a.fincodeOpen(t) {
		return a.admit(r, tenant.Principal{}, t)
	}
	p, f := a.authenticate(r)
	if f != nil {
		return caller{}, f
	}
	if !p.Has(tenant.Channel) || !p.Allows(t.ID) {
		return caller{}, fail(http.StatusForbidden, "forbidden", "the token does not allow to register customers of this tenant")
	}
	return a.admit(r, p, t)
}

// fincodeOpen reports a tenant that anybody may call. Without allowAnonymous, auth: none counts
// only on a developer's machine.
func (a *access) fincodeOpen(t *tenant.Tenant) bool {
	f := t.Dialects.Fincode
	return f.Auth == "none" && (f.AllowAnonymous || a.anonymous)
}

// fincodeTenant is the tenant of the host's label, else of X-Tenant-ID, else the only one with
// the dialect.
func (a *access) fincodeTenant(r *http.Request) (*tenant.Tenant, *failure) {
	label, vendors := hostLabel(r.Host)
	named := r.Header.Get("X-Tenant-ID")
	if len(r.Header.Values("X-Tenant-ID")) > 1 {
		return nil, fail(http.StatusBadRequest, "malformed", "header X-Tenant-ID is repeated; send it once")
	}
	var found []*tenant.Tenant
	for _, t := range configOf(r).Tenants {
		f := t.Dialects.Fincode
		if f != nil && (!vendors || label != "" && strings.EqualFold(f.HostLabel, label)) && (named == "" || named == t.ID) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return nil, fail(http.StatusNotFound, "tenant-not-found", "there is no such tenant here; check the host and X-Tenant-ID")
	case 1:
		return found[0], nil
	}
	return nil, fail(http.StatusNotFound, "tenant-not-found", "several tenants are here; name one by the host or X-Tenant-ID")
}

// hostLabel is what stands before the vendor's domain in a host, with or without a port; vendors
// is false for any other host.
func hostLabel(host string) (label string, vendors bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.CutSuffix(strings.TrimSuffix(strings.ToLower(host), "."), fincodeDomain)
}
