package usher

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/services/usher/doctor"
)

// secret is in every address that a patient has, and in nothing that doctor prints.
const secret = "s3cret-of-the-operator"

// patient is an installation whose services do not run.
type patient struct {
	t        *testing.T
	settings map[string]string
	offset   time.Duration // of this machine's clock
}

// newPatient has a broker, with the options changed by prepare, and all that `topology apply` makes.
func newPatient(t *testing.T, prepare ...func(*server.Options)) *patient {
	t.Helper()
	dir := t.TempDir()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"),
		NoSigs: true, NoLog: true, Username: bus.OperatorUser, Password: secret}
	for _, change := range prepare {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(waitLong) {
		t.Fatal("broker did not start")
	}
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	p := &patient{t: t, settings: map[string]string{
		"NATS_URL": strings.Replace(s.ClientURL(), "://", "://"+bus.OperatorUser+":"+secret+"@", 1), "STORE_URL": "sqlite://" + filepath.Join(dir, "store"),
		"USHER_KEYS": filepath.Join(dir, "keys"), "SMTP_URL": "smtp://ann:" + secret + "@" + startSMTP(t, nil, nil),
	}}
	return p
}

// prepared has the streams and collections too.
func (p *patient) prepared() *patient {
	p.t.Helper()
	for _, name := range []string{"NATS_URL", "STORE_URL"} {
		p.t.Setenv(name, p.settings[name])
	}
	var errs bytes.Buffer
	if code := execute(p.t.Context(), []string{"topology", "apply"}, io.Discard, &errs); code != 0 {
		p.t.Fatal(errs.String())
	}
	return p
}

func (p *patient) jetStream() jetstream.JetStream {
	p.t.Helper()
	nc, err := nats.Connect(p.settings["NATS_URL"])
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		p.t.Fatal(err)
	}
	return js
}

// examined returns what doctor finds of a check, and all that it prints.
func (p *patient) examined(check string) (found []doctor.Finding, printed string) {
	p.t.Helper()
	o := doctor.Options{Services: Services, Timeout: 5 * time.Second, Getenv: func(name string) string { return p.settings[name] },
		Now: func() time.Time { return time.Now().Add(p.offset) }}
	var text, raw bytes.Buffer
	err := doctorCommand{format: format{outputText}}.examine(p.t.Context(), &text, o)
	again := doctorCommand{format: format{outputJSON}}.examine(p.t.Context(), &raw, o)
	var report doctorReport
	if json.Unmarshal(raw.Bytes(), &report) != nil || report.Sound != (err == nil) || (again == nil) != (err == nil) {
		p.t.Errorf("text and JSON disagree: %v, %v\n%s", err, again, raw.String())
	}
	for _, f := range report.Findings {
		if f.Check == check {
			found = append(found, f)
		}
		if f.Status == doctor.Fail && f.Mend == "" {
			p.t.Errorf("%s fails without a mend: %s", f.Check, f.About)
		}
	}
	if strings.Contains(text.String()+raw.String(), secret) {
		p.t.Errorf("a password is printed:\n%s", text.String())
	}
	return found, text.String()
}

func TestDoctorFindsWhatIsWrongAndNamesTheMend(t *testing.T) {
	past := time.Now().Add(-90 * 24 * time.Hour)
	for sentence, test := range map[string]struct {
		broken      func(t *testing.T) *patient
		check       string
		about, mend string
	}{
		"the broker is down": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["NATS_URL"] = "nats://operator:" + secret + "@" + freeAddr(t)
			return p
		}, "broker", "nobody listens", "start the broker"},
		"the password is wrong": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["NATS_URL"] = strings.Replace(p.settings["NATS_URL"], secret, "another", 1)
			return p
		}, "broker", "refuses the credentials", "usher topology passwords"},
		"the password is not encoded": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["NATS_URL"] = "nats://operator:" + secret + "/%zz@127.0.0.1:4222"
			return p
		}, "broker", "not a URL", "percent-encoded"},
		"nothing was applied": {func(t *testing.T) *patient { return newPatient(t) }, "stream REGISTRATIONS", "not found", "usher topology apply"},
		"a stream drops the old instead of refusing the new": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			js := p.jetStream()
			s, err := js.Stream(t.Context(), bus.Registrations)
			if err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			config.Discard = jetstream.DiscardOld
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			return p
		}, "stream REGISTRATIONS", "discard is DiscardOld, want DiscardNew", "usher topology apply"},
		"a consumer is missing": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			if err := p.jetStream().DeleteConsumer(t.Context(), bus.Registrations, "accounts-risk"); err != nil {
				t.Fatal(err)
			}
			return p
		}, "consumers of accounts", "accounts-risk", "usher topology apply"},
		"a unique index is missing": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			dropUnique(t, strings.TrimPrefix(p.settings["STORE_URL"], "sqlite://"))
			return p
		}, "documents of accounts", "lacks its index u_accounts_", "usher topology apply"},
		"the mail server is down": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["SMTP_URL"] = "smtp://ann:" + secret + "@" + freeAddr(t)
			return p
		}, "smtp", "connection refused", "is the mail server of SMTP_URL running"},
		"the mail server refuses the login": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["SMTP_URL"] = "smtp://bob:" + secret + "@" + startSMTP(t, nil, nil)
			return p
		}, "smtp", "code 535", "user and password of SMTP_URL"},
		"the mail server refuses everybody": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["SMTP_URL"] = "smtp://ann:" + secret + "@" + startSMTP(t, nil, &smtp.SMTPError{Code: 554, Message: "no service for you"})
			return p
		}, "smtp", "code 554", "take mail from this machine"},
		"the clock is 5 minutes behind": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.offset = -5 * time.Minute
			return p
		}, "clock", "5m0s behind the broker's", "NTP"},
		"the clock is 5 minutes ahead": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.offset = 5 * time.Minute
			return p
		}, "clock", "5m0s ahead of the broker's", "NTP"},
		"the broker's certificate has expired": {func(t *testing.T) *patient {
			return tlsPatient(t, past)
		}, "broker", "until " + past.UTC().Format(time.DateOnly), "renew it where the broker has it"},
		"the mail server's certificate has expired": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			certificate, _ := certify(t, past)
			p.settings["SMTP_URL"] = "smtps://ann:" + secret + "@" + startSMTP(t, &certificate, nil)
			return p
		}, "smtp", "until " + past.UTC().Format(time.DateOnly), "renew it where the mail server has it"},
		"the keys are not there": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			p.settings["USHER_KEYS"] = t.TempDir()
			return p
		}, "keys", "has no key file", "usher keys generate"},
		"others can read a key": {func(t *testing.T) *patient {
			p := newPatient(t).prepared()
			if err := os.Chmod(filepath.Join(p.settings["USHER_KEYS"], "vault.json"), 0o644); err != nil {
				t.Fatal(err)
			}
			return p
		}, "key vault", "can be read by others", "chmod 600"},
	} {
		t.Run(sentence, func(t *testing.T) {
			found, printed := test.broken(t).examined(test.check)
			for _, f := range found {
				if f.Status == doctor.Fail && strings.Contains(f.About, test.about) && strings.Contains(f.Mend, test.mend) {
					return
				}
			}
			t.Errorf("%q with mend %q is not found of %s:\n%s", test.about, test.mend, test.check, printed)
		})
	}
}

func TestDoctorWarnsOfACertificateThatEndsSoon(t *testing.T) {
	soon := time.Now().Add(10 * 24 * time.Hour)
	found, printed := tlsPatient(t, soon).examined("broker certificate")
	if len(found) != 1 || found[0].Status != doctor.Warn || !strings.Contains(found[0].About, soon.UTC().Format(time.DateOnly)) {
		t.Errorf("%+v\n%s", found, printed)
	}
}

func TestDoctorFindsNothingWrongWhereOnlyTheServicesAreDown(t *testing.T) {
	_, printed := newPatient(t).prepared().examined("")
	if strings.Contains(printed, "fail") || strings.Contains(printed, "skip") || !strings.Contains(printed, "ok    smtp: takes connections, without TLS") ||
		!strings.Contains(printed, "-> is accounts running?") {
		t.Error(printed)
	}
}

// guarded gives the users of the broker their permissions, and everything to topology.
func guarded(o *server.Options) {
	o.Username, o.Password = "", ""
	for _, u := range bus.Users() {
		may := &server.Permissions{Publish: &server.SubjectPermission{Allow: u.Publish}, Subscribe: &server.SubjectPermission{Allow: u.Subscribe}}
		o.Users = append(o.Users, &server.User{Username: u.Name, Password: secret, Permissions: may})
	}
}

func TestTheOperatorOfAGuardedBrokerMayLookAtEverything(t *testing.T) {
	p := newPatient(t, guarded)
	operator := p.settings["NATS_URL"]
	p.settings["NATS_URL"] = strings.Replace(operator, bus.OperatorUser, bus.TopologyUser, 1)
	p.prepared()
	if found, printed := p.examined("streams"); len(found) != 1 || found[0].Status != doctor.Fail || !strings.Contains(found[0].Mend, "the user operator") {
		t.Errorf("as another user: %s", printed)
	}
	p.settings["NATS_URL"] = operator
	if _, printed := p.examined(""); strings.Contains(printed, "fail") || strings.Contains(printed, "skip") || !strings.Contains(printed, "ok    broker storage") {
		t.Error(printed)
	}
	t.Setenv("NATS_URL", operator)
	for _, args := range [][]string{{"watch", "--once", "--every", "100ms", "--all"}, {"deadletters", "list"}} {
		var out bytes.Buffer
		if code := execute(t.Context(), args, &out, &out); code != exitDone {
			t.Errorf("%v: code %d\n%s", args, code, out.String())
		}
	}
}

func TestDoctorChangesNothing(t *testing.T) {
	p := newPatient(t)
	p.examined("")
	if names := p.jetStream().StreamNames(t.Context()); len(drain(names.Name())) > 0 {
		t.Error("streams were made")
	}
	if _, err := os.Stat(strings.TrimPrefix(p.settings["STORE_URL"], "sqlite://")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a store was made")
	}
}

func drain(names <-chan string) (all []string) {
	for name := range names {
		all = append(all, name)
	}
	return all
}

func TestDoctorFindsNothingWrongWithARunningPipeline(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	t.Setenv("STORE_URL", d.command.Store)
	d.eventually(waitLong, "every service reads its consumers", func() bool {
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"doctor", "--dev", d.command.Data}, &out, &errs)
		return code == 0 && !strings.Contains(out.String(), "nobody reads") && strings.Contains(out.String(), "ok    clock")
	})
}

// dropUnique takes a unique index away from the accounts.
func dropUnique(t *testing.T, dir string) {
	t.Helper()
	database, err := sql.Open("sqlite", filepath.Join(dir, "accounts.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	var name string
	if err := database.QueryRow(`SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'u_accounts_%'`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := database.Exec(`DROP INDEX "` + name + `"`); err != nil {
		t.Fatal(err)
	}
}

// certify makes a certificate for 127.0.0.1 that its own authority signs and that ends at a time.
func certify(t *testing.T, ends time.Time) (certificate tls.Certificate, authority []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ends.Add(-365 * 24 * time.Hour), NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// tlsPatient has a broker whose certificate ends at a time.
func tlsPatient(t *testing.T, ends time.Time) *patient {
	t.Helper()
	certificate, authority := certify(t, ends)
	p := newPatient(t, func(o *server.Options) {
		o.TLS, o.TLSConfig, o.TLSTimeout = true, &tls.Config{Certificates: []tls.Certificate{certificate}}, 5
	})
	p.settings["NATS_CA"] = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(p.settings["NATS_CA"], authority, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// startSMTP is a mail server that lets ann in, with TLS where it has a certificate. It greets with an
// error where one is given, and fails the test where it is given a mail.
func startSMTP(t *testing.T, certificate *tls.Certificate, refuses error) (addr string) {
	t.Helper()
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &doorkeeper{t}, refuses }))
	s.AllowInsecureAuth = true
	s.ErrorLog = noLog{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if certificate != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*certificate}})
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return addr
}

type noLog struct{}

func (noLog) Printf(string, ...any) {}
func (noLog) Println(...any)        {}

type doorkeeper struct{ t *testing.T }

func (d *doorkeeper) AuthMechanisms() []string { return []string{"CRAM-MD5"} }

func (d *doorkeeper) Auth(string) (sasl.Server, error) { return &cram{}, nil }

// cram is CRAM-MD5 (RFC 2195), which clients use without TLS.
type cram struct{ asked bool }

func (c *cram) Next(response []byte) (challenge []byte, done bool, err error) {
	const question = "<1@test>"
	if !c.asked {
		c.asked = true
		return []byte(question), false, nil
	}
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write([]byte(question))
	if string(response) != "ann "+hex.EncodeToString(mac.Sum(nil)) {
		return nil, true, smtp.ErrAuthFailed
	}
	return nil, true, nil
}

func (d *doorkeeper) Mail(string, *smtp.MailOptions) error {
	d.t.Error("a mail was sent")
	return nil
}
func (d *doorkeeper) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (d *doorkeeper) Data(io.Reader) error                 { return nil }
func (d *doorkeeper) Reset()                               {}
func (d *doorkeeper) Logout() error                        { return nil }
