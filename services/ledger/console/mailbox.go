package console

import (
	"regexp"
	"strings"
)

const mailsShown = 50

type mailboxPage struct {
	To    string
	Mails []shownMail
}

type shownMail struct {
	DevMail
	Link string // the first address in the text, or ""
}

var linkPattern = regexp.MustCompile(`https?://\S+`)

func (k *console) mailbox(v *visit) (string, string, any, error) {
	page := mailboxPage{To: strings.TrimSpace(v.URL.Query().Get("to"))}
	mails, err := k.Mailbox.Newest(page.To, mailsShown)
	for _, m := range mails {
		page.Mails = append(page.Mails, shownMail{m, linkPattern.FindString(m.Text)})
	}
	return "Dev mailbox", "mailbox", page, err
}
