package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// certificateAlarm is how long before a certificate's end doctor warns.
const certificateAlarm = 30 * 24 * time.Hour

// certificate tells how long a certificate still holds.
func (e *examination) certificate(check string, c *x509.Certificate, whose string) {
	left := c.NotAfter.Sub(e.Now())
	ends := c.NotAfter.UTC().Format(time.DateOnly)
	mend := "renew it where " + whose + " has it"
	switch {
	case left <= 0:
		e.fail(check, "expired on "+ends, mend)
	case left < certificateAlarm:
		e.warn(check, fmt.Sprintf("expires on %s, in %d days", ends, int(left.Hours()/24)), mend)
	default:
		e.ok(check, "valid until "+ends)
	}
}

// authority looks at the certificates of NATS_CA.
func (e *examination) authority() {
	const check = "NATS_CA"
	path := e.Getenv("NATS_CA")
	if path == "" {
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		e.fail(check, err.Error(), "give the file of the broker's authority")
		return
	}
	found := false
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = true
			e.certificate(check, c, "the broker's authority")
		}
	}
	if !found {
		e.fail(check, path+" has no certificate in PEM", "give the file of the broker's authority")
	}
}

// untrusted tells of a certificate that was refused, and reports whether the error is one.
func (e *examination) untrusted(check string, err error, whose, setting string) bool {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.fail(check, fmt.Sprintf("the certificate of %s does not hold now: it is valid from %s until %s", whose,
			invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly)), "renew it where "+whose+" has it, and check this machine's clock")
	case errors.As(err, &invalid):
		e.fail(check, "the certificate of "+whose+" is not valid: "+invalid.Error(), "issue it anew")
	case errors.As(err, &unknown):
		e.fail(check, "the certificate of "+whose+" is of an authority that is not known here", "give that authority's certificate in "+setting)
	case errors.As(err, &host):
		e.fail(check, "the certificate of "+whose+" is not for the name it is reached by", "reach it by one of the certificate's names, or issue it anew with this one")
	default:
		return false
	}
	return true
}
