package gateway

import (
	"fmt"
	"strings"

	"github.com/usherhq/usher/pkg/passwords"
)

// words are the activation page's in one language.
type words struct {
	Language                          string
	Title, At                         string // at a tenant
	CodeLabel, CodeHint, Activate     string
	ChooseTitle, ChooseWhy            string
	PasswordLabel, Show, Hide, Choose string
	Failed, Later                     string
	Resend, Resent                    string
	DoneTitle, Done                   string
	Error                             string // before the title of a page that tells of one
	AtLeast, UpTo                     string // characters
	FourClasses, TwoOfThree, Unlike   string
	Refusals                          map[string]string // by kind of failure
}

// rule tells what a policy demands.
func (w words) rule(p passwords.Policy) string {
	var sentences []string
	if p.MaxLength > 0 {
		sentences = append(sentences, fmt.Sprintf(w.UpTo, p.MinLength, p.MaxLength))
	} else if p.MinLength > 0 {
		sentences = append(sentences, fmt.Sprintf(w.AtLeast, p.MinLength))
	}
	switch p.Composition {
	case passwords.FourClasses:
		sentences = append(sentences, w.FourClasses)
	case passwords.TwoOfThree:
		sentences = append(sentences, w.TwoOfThree)
	}
	if p.Unlike || p.NotCommon {
		sentences = append(sentences, w.Unlike)
	}
	return strings.Join(sentences, " ")
}

var english = words{
	Language: "en",
	Title:    "Activate your account", At: "at",
	CodeLabel: "Your activation code", CodeHint: "It is in the mail that we sent you: 16 letters and digits.", Activate: "Activate",
	ChooseTitle: "Choose a password", ChooseWhy: "Your account has no password yet. Choose one to activate it.",
	PasswordLabel: "New password", Show: "Show password", Hide: "Hide password", Choose: "Set password and activate",
	Failed: "This code did not work. Check it against the mail, or ask for a new one.",
	Later:  "We cannot check this right now. Please try again in a moment.",
	Resend: "Send me a new code", Resent: "If this account waits for its activation, a mail is on its way. Between two mails some time has to pass, and there are only a few a day.",
	Error: "Error:", DoneTitle: "Your account is active", Done: "You can close this page.",
	AtLeast: "At least %d characters.", UpTo: "%d to %d characters.",
	FourClasses: "With upper-case and lower-case letters, a digit and a special character.",
	TwoOfThree:  "With two of letters, digits and special characters, and no spaces.",
	Unlike:      "No common password, and nothing of your name or e-mail address.",
	Refusals: map[string]string{
		passwordRequired:     "Please enter the password once more.",
		"password-too-short": "This password is too short.",
		"password-too-long":  "This password is too long.",
		"password-format":    "A password here has no spaces.",
		"password-weak":      "This password lacks a kind of characters.",
		"password-common":    "Too many people use this password. Choose another.",
		"password-resembles": "This password is too close to your name, your e-mail address or our name. Choose another.",
	},
}

var german = words{
	Language: "de",
	Title:    "Konto aktivieren", At: "bei",
	CodeLabel: "Ihr Aktivierungscode", CodeHint: "Er steht in unserer E-Mail an Sie: 16 Buchstaben und Ziffern.", Activate: "Aktivieren",
	ChooseTitle: "Passwort wählen", ChooseWhy: "Ihr Konto hat noch kein Passwort. Wählen Sie eines, um es zu aktivieren.",
	PasswordLabel: "Neues Passwort", Show: "Passwort anzeigen", Hide: "Passwort verbergen", Choose: "Passwort festlegen und aktivieren",
	Failed: "Dieser Code hat nicht funktioniert. Vergleichen Sie ihn mit der E-Mail, oder fordern Sie einen neuen an.",
	Later:  "Wir können das gerade nicht prüfen. Bitte versuchen Sie es gleich noch einmal.",
	Resend: "Neuen Code zusenden", Resent: "Falls dieses Konto auf seine Aktivierung wartet, ist eine E-Mail unterwegs. Zwischen zwei E-Mails muss etwas Zeit vergehen, und es gibt nur wenige am Tag.",
	Error: "Fehler:", DoneTitle: "Ihr Konto ist aktiv", Done: "Sie können diese Seite schließen.",
	AtLeast: "Mindestens %d Zeichen.", UpTo: "%d bis %d Zeichen.",
	FourClasses: "Mit Groß- und Kleinbuchstaben, einer Ziffer und einem Sonderzeichen.",
	TwoOfThree:  "Mit zweien von Buchstaben, Ziffern und Sonderzeichen und ohne Leerzeichen.",
	Unlike:      "Kein verbreitetes Passwort, und nichts aus Ihrem Namen oder Ihrer E-Mail-Adresse.",
	Refusals: map[string]string{
		passwordRequired:     "Bitte geben Sie das Passwort noch einmal ein.",
		"password-too-short": "Dieses Passwort ist zu kurz.",
		"password-too-long":  "Dieses Passwort ist zu lang.",
		"password-format":    "Ein Passwort hat hier keine Leerzeichen.",
		"password-weak":      "Diesem Passwort fehlt eine Art von Zeichen.",
		"password-common":    "Zu viele Menschen verwenden dieses Passwort. Wählen Sie ein anderes.",
		"password-resembles": "Dieses Passwort ist Ihrem Namen, Ihrer E-Mail-Adresse oder unserem Namen zu ähnlich. Wählen Sie ein anderes.",
	},
}
