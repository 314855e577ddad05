package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
)

// Words says what became of a request that has no answer, without its URL and without addresses:
// for logs and for whoever has entered the URL.
func Words(err error) string {
	var refused *RefusedError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var waited net.Error
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host's name does not exist"
	case errors.As(err, &dns):
		return "the host's name could not be resolved"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &waited) && waited.Timeout():
		return "no answer in time"
	case errors.As(err, &certificate):
		return "the host's certificate is not trusted"
	case errors.As(err, &record), errors.As(err, &alert):
		return "the host does not speak TLS as expected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, ErrBodyTooLong):
		return ErrBodyTooLong.Error()
	}
	return "the connection failed"
}
