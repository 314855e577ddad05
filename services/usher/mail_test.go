package usher

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/tenant"
)

func TestAPreviewIsTheMailOfTheTenant(t *testing.T) {
	own := "mail: {templates: {notice: {de: {subject: \"Hinweis von {{.Tenant}}\", text: \"Guten Tag {{.Name}}\", html: \"<p>{{.Name}}</p>\"}}}, from: no-reply@finsei.example"
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(tenant.DemoFile()), "mail: {from: no-reply@finsei.example", own, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"the demonstration's":        {nil, 0, "Subject: Activate your account at CloudVault\n\nHello Zoë,"},
		"in another language":        {[]string{"--kind", "reminder", "--language", "de"}, 0, "Subject: Ihr Konto bei CloudVault wird entfernt"},
		"a tenant's own":             {[]string{file, "--tenant", finsei, "--kind", "notice", "--language", "de"}, 0, "Subject: Hinweis von Finsei\n\nGuten Tag Zoë"},
		"of that ours, where it has": {[]string{file, "--tenant", finsei, "--kind", "notice"}, 0, "Subject: Somebody tried to register as you at Finsei"},
		"as it is sent":              {[]string{"--output", "mime"}, 0, "Auto-Submitted: auto-generated"},
		"its HTML":                   {[]string{"--output", "html"}, 0, "<p>Hello Zoë,</p>"},
		"a tenant that is not there": {[]string{"--tenant", "nobody"}, 1, ""},
		"a file that is not there":   {[]string{"/nowhere.yaml"}, 2, ""},
	} {
		code, out, errs := command(t, append([]string{"mail", "preview"}, test.args...)...)
		if code != test.code || !strings.Contains(out, test.want) || (errs == "") != (code == 0) {
			t.Errorf("%s: %d\n%s\n%s", name, code, out, errs)
		}
	}
}
