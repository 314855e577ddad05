package doctor

import (
	"context"
	"strings"

	"github.com/usherhq/usher/services/notifier/mail"
)

// smtp connects to the mail server as notifier does, and sends nothing.
func (e *examination) smtp(ctx context.Context) {
	const check = "smtp"
	url := e.Getenv("SMTP_URL")
	if url == "" {
		e.skip(check, "SMTP_URL is not set", "set it as notifier has it to look at the mail server")
		return
	}
	sender, err := mail.Dial(url)
	if err != nil {
		e.differs(check, err)
		return
	}
	defer sender.Close()
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	certificate, err := sender.Check(ctx)
	switch {
	case err == nil && certificate == nil:
		e.ok(check, "takes connections, without TLS")
	case err == nil:
		e.ok(check, "takes connections with TLS")
		e.certificate("smtp certificate", certificate, "the mail server")
	case e.untrusted(check, err, "the mail server", "SSL_CERT_FILE"):
	case strings.Contains(err.Error(), "code 5"), strings.Contains(err.Error(), "code 4"):
		e.fail(check, err.Error(), "are user and password of SMTP_URL right, and does the server take mail from this machine? 535 means the login")
	default:
		e.fail(check, reason(err), "is the mail server of SMTP_URL running, and is the port the one of its scheme (smtp, smtp+starttls, smtps)? Most logins need one of the latter two")
	}
}
