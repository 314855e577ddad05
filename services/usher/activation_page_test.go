package usher

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/accounts"
)

// registerDamaged registers as the gateway does, with a credential that nobody can open.
func (d *dev) registerDamaged(id, email string) {
	d.t.Helper()
	ring, err := keys.Open(filepath.Join(d.command.Data, "keys"))
	if err != nil {
		d.t.Fatal(err)
	}
	nc, err := bus.Connect("nats://"+d.command.NATS, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(nc.Close)
	b, err := bus.New(bus.Config{Service: events.Gateway, Conn: nc, Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider()})
	if err != nil {
		d.t.Fatal(err)
	}
	d.eventually(waitLong, "the test is connected", func() bool { return b.Ready() == nil })
	person := events.Registration{Channel: "native", Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "Ingrid", FamilyName: "Solveig",
		Email: email, CanonicalEmail: email, BirthDate: "1988-02-03"}, Password: events.PasswordFacts{Present: true, Length: 20, Bytes: 20, Lower: true}}
	sequence, err := vault.New(b.JetStream(), ring).Put(d.t.Context(), cloudVault, id, vault.Entry{Registration: person, Credential: []byte(`{"key":`)})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := b.Publish(d.t.Context(), cloudVault, id, events.Requested{Carried: events.Carried{Channel: "native", Vault: sequence, MAC: "mac"}}); err != nil {
		d.t.Fatal(err)
	}
}

// browser is a Chromium, its window as wide as said. Everything it draws is kept where
// USHER_SCREENSHOTS names a directory.
func (d *dev) browser(language, scheme string, width int64) (ctx context.Context, shoot func(name string)) {
	d.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		d.t.Skip("NOT RUN: pages in a browser. There is no chromium here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language))
	allocator, closeAll := chromedp.NewExecAllocator(context.Background(), options...)
	d.t.Cleanup(closeAll)
	ctx, closeTab := chromedp.NewContext(allocator)
	d.t.Cleanup(closeTab)
	d.run(ctx) // starts it; it lives as long as the context of this call
	ctx, late := context.WithTimeout(ctx, 8*time.Minute)
	d.t.Cleanup(late)
	d.run(ctx, chromedp.EmulateViewport(width, 800))
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		d.t.Fatal(err)
	}
	return ctx, func(name string) {
		picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			d.t.Fatal(err)
		}
		if dir := os.Getenv("USHER_SCREENSHOTS"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)), picture, 0o600); err != nil {
				d.t.Error(err)
			}
		}
	}
}

func (d *dev) run(ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		d.t.Fatal(err)
	}
}

// evaluate returns the text that an expression has in the page.
func (d *dev) evaluate(ctx context.Context, expression string) string {
	d.t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		d.t.Fatal(err)
	}
	return value
}

func TestTheLinkInTheMailActivatesInABrowser(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	ctx, shoot := d.browser("en", "light", 1280)
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("browser@example.com"))
	id := a.json(t)["id"].(string)
	code := d.code("browser@example.com")
	page := d.gateway("/activate/" + cloudVault + "/" + id)

	d.run(ctx, chromedp.Navigate(page), chromedp.WaitReady(chromedp.CSS("#code")), chromedp.SendKeys(chromedp.CSS("#code"), "wrong"), chromedp.Click(chromedp.CSS("button[type=submit]")), chromedp.WaitReady(chromedp.CSS("#refused")))
	shoot("failed")
	if text := d.evaluate(ctx, `document.title+"|"+document.getElementById("refused").textContent+"|"+document.activeElement.id`); text != "Error: Activate your account – CloudVault|This code did not work. Check it against the mail, or ask for a new one.|code" {
		t.Errorf("after a wrong code the page has %q", text)
	}

	d.run(ctx, chromedp.Click(chromedp.CSS(".again button")), chromedp.WaitReady(chromedp.CSS(".note[role=status]")))
	shoot("resent")
	if text := d.evaluate(ctx, `document.querySelector(".note").textContent+document.querySelectorAll("[role=alert]").length`); !strings.HasPrefix(text, "If this account waits") || !strings.HasSuffix(text, "0") {
		t.Errorf("after a resend the page has %q", text)
	}

	d.run(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(page+"#"+code), chromedp.WaitReady(chromedp.CSS("#code")))
	shoot("code")
	if got := d.evaluate(ctx, `document.getElementById("code").value+"|"+location.hash+"|"+document.activeElement.type`); got != code+"||submit" {
		t.Error("the link does not fill in the code, leaves it in the address, or the button has not the focus")
	}
	if status := d.status(cloudVault, id)["status"]; status != "ACTIVATION_SENT" {
		t.Errorf("opening the link makes it %v", status)
	}
	d.run(ctx, chromedp.KeyEvent("\r"), chromedp.WaitReady(chromedp.CSS("[role=status]")))
	shoot("done")
	d.reaches(cloudVault, id, "ACTIVATED")
}

func TestACustomerWhosePasswordNobodyCanOpenChoosesOneAtTheActivation(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{twice: true})
	ctx, shoot := d.browser("de", "dark", 390)
	const id, email, chosen = "0b1e7c52-30cd-8f4b-9c55-1d2f3a4b5c6d", "damaged@example.com", "seven quiet lanterns"
	d.registerDamaged(id, email)
	link := d.gateway("/activate/" + cloudVault + "/" + id + "#" + d.code(email))
	d.run(ctx, chromedp.Navigate(link), chromedp.WaitReady(chromedp.CSS("#code")))
	shoot("code")
	d.run(ctx, chromedp.Click(chromedp.CSS("button[type=submit]")), chromedp.WaitReady(chromedp.CSS("#password")))
	shoot("password")
	for _, try := range []struct{ password, says string }{
		{"Password123!", "Zu viele Menschen verwenden dieses Passwort. Wählen Sie ein anderes."},
		{"mein Lied von Solveig", "Dieses Passwort ist Ihrem Namen, Ihrer E-Mail-Adresse oder unserem Namen zu ähnlich. Wählen Sie ein anderes."},
	} {
		d.run(ctx, chromedp.SendKeys(chromedp.CSS("#password"), try.password), chromedp.Evaluate[chromedp.Void](`document.body.dataset.old = "1"`),
			chromedp.Click(chromedp.CSS("button[type=submit]")), chromedp.WaitReady(chromedp.CSS("body:not([data-old]) #refused")))
		if got := d.evaluate(ctx, `document.getElementById("refused").textContent`); got != try.says {
			t.Errorf("%q, want %q", got, try.says)
		}
	}
	shoot("refused")
	d.run(ctx, chromedp.SendKeys(chromedp.CSS("#password"), chosen), chromedp.Click(chromedp.CSS("#show")))
	if got := d.evaluate(ctx, `document.getElementById("password").type+"|"+document.getElementById("show").textContent`); got != "text|Passwort verbergen" {
		t.Errorf("shown: %q", got)
	}
	d.run(ctx, chromedp.Click(chromedp.CSS("button[type=submit]")), chromedp.WaitReady(chromedp.CSS("[role=status]")))
	shoot("done")
	d.reaches(cloudVault, id, "ACTIVATED")
	d.eventually(waitLong, "the vault keeps nothing", func() bool { return len(readAll(t, d.jetStream(t), vault.Stream)) == 0 })
	d.close()
	d.checkPassword(id, chosen)
}

// checkPassword checks the hash that a stopped pipeline has stored.
func (d *dev) checkPassword(id, password string) {
	d.t.Helper()
	documents, err := store.Open(d.t.Context(), d.command.Store, string(events.Accounts), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer documents.Close()
	if err := documents.Verify(d.t.Context(), accounts.Service.Schemas...); err != nil {
		d.t.Fatal(err)
	}
	accountsOf := store.NewDocs(documents, accounts.Service.Schemas[0], func(map[string]any) store.Fields { return nil })
	a, err := accountsOf.Get(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	phc, _ := a.Value["password"].(string)
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || a.Value["passwordRequired"] != nil {
		d.t.Fatalf("the account has no password: %v", a.Value["state"])
	}
	var p struct {
		m, t uint32
		p    uint8
	}
	_, _ = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.m, &p.t, &p.p)
	if raw(d.t, parts[5]) != string(argon2.IDKey([]byte(password), []byte(raw(d.t, parts[4])), p.t, p.m, p.p, 32)) {
		d.t.Error("the password does not verify")
	}
}

func raw(t *testing.T, text string) string {
	t.Helper()
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded)
}
