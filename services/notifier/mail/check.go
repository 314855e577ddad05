package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/textproto"
)

// Check connects as Send would, with TLS and login, sends nothing and returns the certificate that
// the server has shown, nil without TLS. Its error quotes no words of the server: they can repeat
// the user's name.
func (s *Sender) Check(ctx context.Context) (*x509.Certificate, error) {
	c, err := s.dialer.DialToSMTPClientWithContext(ctx)
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return nil, fmt.Errorf("the SMTP server refuses: code %d", reply.Code)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the SMTP server: %w", err)
	}
	defer c.Close()
	state, encrypted := c.TLSConnectionState()
	if err := c.Quit(); err != nil {
		return nil, fmt.Errorf("leave the SMTP server: %w", err)
	}
	if !encrypted || len(state.PeerCertificates) == 0 {
		return nil, nil
	}
	return state.PeerCertificates[0], nil
}
