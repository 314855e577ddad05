package mail

import (
	"embed"

	"github.com/usherhq/usher/pkg/tenant"
)

//go:embed templates
var files embed.FS

// subjects are those of our templates.
var subjects = map[Kind]map[string]string{
	Activation: {"en": "Activate your account at {{.Tenant}}", "de": "Aktivieren Sie Ihr Konto bei {{.Tenant}}"},
	Reminder:   {"en": "Your account at {{.Tenant}} will be removed", "de": "Ihr Konto bei {{.Tenant}} wird entfernt"},
	Notice:     {"en": "Somebody tried to register as you at {{.Tenant}}", "de": "Jemand wollte sich als Sie registrieren bei {{.Tenant}}"},
}

// ours are the templates of whoever has none of their own.
var ours = func() map[Kind]map[string]tenant.MailTemplate {
	all := map[Kind]map[string]tenant.MailTemplate{}
	for kind, languages := range subjects {
		all[kind] = map[string]tenant.MailTemplate{}
		for language, subject := range languages {
			var t tenant.MailTemplate
			must(t.Subject.UnmarshalText([]byte(subject)))
			must(t.Text.UnmarshalText(file(kind, language, "txt")))
			must(t.HTML.UnmarshalText(file(kind, language, "html")))
			all[kind][language] = t
		}
	}
	return all
}()

func file(kind Kind, language, extension string) []byte {
	raw, err := files.ReadFile("templates/" + string(kind) + "." + language + "." + extension)
	must(err)
	return raw
}

// must panics for a shipped file that is broken; each is tested.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
