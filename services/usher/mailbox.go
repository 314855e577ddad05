package usher

import (
	"slices"

	"github.com/usherhq/usher/services/ledger/console"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// mailbox shows the caught mails in the console.
type mailbox struct{ *mailsink.Sink }

func (m mailbox) Newest(to string, most int) ([]console.DevMail, error) {
	caught, err := m.Mails(to)
	var newest []console.DevMail
	for _, mail := range slices.Backward(caught[max(0, len(caught)-most):]) {
		newest = append(newest, console.DevMail{To: mail.To, From: mail.From, Subject: mail.Subject, Text: mail.Text, ReceivedAt: mail.ReceivedAt})
	}
	return newest, err
}
