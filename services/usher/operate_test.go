package usher

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usherhq/usher/pkg/app"
)

// operator is a pipeline and the command line as its operator has it.
type operator struct{ *dev }

func startOperator(t *testing.T) operator {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	for name, value := range map[string]string{"NATS_URL": "nats://" + d.command.NATS, "USHER_URL": "http://" + d.command.HTTP, "USHER_OPS": "http://" + d.command.Ops, "USHER_TENANT": cloudVault} {
		t.Setenv(name, value)
	}
	return operator{d}
}

// run runs a command, expects its code and decodes the JSON that it prints.
func (o operator) run(code int, into any, args ...string) (out, errs string) {
	o.t.Helper()
	var b, e bytes.Buffer
	if got := execute(o.t.Context(), args, &b, &e); got != code {
		o.t.Fatalf("usher %s: code %d, want %d\n%s%s", strings.Join(args, " "), got, code, b.String(), e.String())
	}
	if strings.Contains(b.String()+e.String(), testToken) {
		o.t.Errorf("usher %s prints the token", args[0])
	}
	if into != nil {
		if err := json.Unmarshal(b.Bytes(), into); err != nil {
			o.t.Fatalf("usher %s: %v\n%s", strings.Join(args, " "), err, b.String())
		}
	}
	return b.String(), e.String()
}

// register returns the id of a new registration.
func (o operator) registered(email string) string {
	o.t.Helper()
	a := o.do(http.MethodPost, o.gateway("/v1/registrations"), cloudVault, nativeBody(email))
	return a.json(o.t)["id"].(string)
}

func TestTheCommandsOfAnOperator(t *testing.T) {
	o := startOperator(t)
	id := o.registered("ingrid@example.com")
	o.reaches(cloudVault, id, "ACTIVATION_SENT")

	t.Run("status tells how far a registration is", func(t *testing.T) {
		var view app.RegistrationView
		o.run(exitDone, &view, "status", id, "--output", "json")
		out, _ := o.run(exitDone, nil, "status", id)
		if view.Status != "ACTIVATION_SENT" || len(view.Stages) < 5 || !strings.HasPrefix(out, id+" is ACTIVATION_SENT") || !strings.Contains(out, "account.created") {
			t.Errorf("%+v\n%s", view, out)
		}
	})
	t.Run("status asks the ledger for what the stream has let go", func(t *testing.T) {
		nc, err := nats.Connect("nats://" + o.command.NATS)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		gone := o.registered("gone@example.com")
		o.reaches(cloudVault, gone, "ACTIVATION_SENT")
		o.eventually(waitLong, "the ledger knows it", func() bool {
			return o.do(http.MethodGet, o.ledger("/v1/registrations/"+gone), cloudVault, nil).json(t)["status"] == "ACTIVATION_SENT"
		})
		if _, err := nc.Request("$JS.API.STREAM.PURGE.REGISTRATIONS", []byte(`{"filter":"reg.*.`+gone+`.>"}`), waitLong); err != nil {
			t.Fatal(err)
		}
		if out, _ := o.run(exitDone, nil, "status", gone); !strings.HasPrefix(out, gone+" is ACTIVATION_SENT") {
			t.Error(out)
		}
	})
	t.Run("status of nobody says so", func(t *testing.T) {
		if _, errs := o.run(exitFailed, nil, "status", "nobody"); !strings.Contains(errs, "404") {
			t.Error(errs)
		}
	})
	t.Run("a token that is not valid is told with its mend, and not printed", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, errs := o.run(exitFailed, nil, "status", id, "--token-file", file); !strings.Contains(errs, "check --token-file") || strings.Contains(out+errs, secret) {
			t.Error(errs)
		}
	})
	t.Run("watch shows the stages", func(t *testing.T) {
		var r reading
		o.run(exitDone, &r, "watch", "--once", "--every", "200ms", "--output", "json")
		stages := map[string]stageLoad{}
		for _, s := range r.Stages {
			stages[s.Stage] = s
		}
		if s := stages["accounts-risk"]; s.Stage == "" || s.Waiting != 0 {
			t.Errorf("%+v", r)
		}
		if out, _ := o.run(exitDone, nil, "watch", "--once", "--every", "200ms", "--all"); !strings.Contains(out, "accounts-risk") {
			t.Error(out)
		}
	})
	t.Run("resend orders another mail", func(t *testing.T) {
		var done resent
		o.run(exitFailed, &done, "resend", id, "nobody", "--output", "json")
		if len(done.Ordered) != 1 || done.Ordered[0] != id || len(done.Skipped) != 1 || done.Skipped[0].Registration != "nobody" || done.Skipped[0].Reason == "" {
			t.Errorf("%+v", done)
		}
		o.run(exitDone, &done, "resend", "--failed", "--output", "json")
		o.run(exitUsage, nil, "resend")
	})
	t.Run("tail prints each event once and goes on where it was", o.tails)
	t.Run("dead letters are listed, shown and given back", o.buries)
}

func (o operator) tails(t *testing.T) {
	cursor := filepath.Join(t.TempDir(), "cursor")
	seen := func() (all []string) {
		out, _ := o.run(exitDone, nil, "tail", "--types", "registration.requested", "--cursor", cursor, "--output", "json")
		for line := range strings.Lines(out) {
			var e struct{ ID, Type string }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type != "registration.requested" {
				t.Fatalf("%v: %s", err, line)
			}
			all = append(all, e.ID)
		}
		return all
	}
	first := seen()
	if len(first) == 0 || len(seen()) != 0 {
		t.Fatalf("%d events, and then some again", len(first))
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	out, errs := &lockedBuffer{}, &lockedBuffer{}
	go func() {
		ended <- execute(ctx, []string{"tail", "--follow", "--cursor", cursor, "--every", "50ms"}, out, errs)
	}()
	id := o.registered("tail@example.com")
	o.eventually(waitLong, "what comes is printed", func() bool { return strings.Contains(out.String(), id+".account.1") })
	stop()
	if code := <-ended; code != exitDone || strings.Contains(out.String(), first[0]) {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	o.run(exitFailed, nil, "tail", "--after", "nonsense")
}

func (o operator) buries(t *testing.T) {
	nc, err := nats.Connect("nats://" + o.command.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const subject = "reg." + cloudVault + ".garbage.requested.1"
	if err := nc.PublishMsg(&nats.Msg{Subject: subject, Data: []byte("no event"), Header: nats.Header{"ce-type": {"registration.requested"}}}); err != nil {
		t.Fatal(err)
	}
	var letters []struct {
		Sequence        uint64
		Service, Reason string
	}
	o.eventually(waitLong, "validator gives it up", func() bool {
		o.run(exitDone, &letters, "deadletters", "list", "--output", "json")
		return len(letters) > 0
	})
	var shown shownLetter
	number := func() string { raw, _ := json.Marshal(letters[0].Sequence); return string(raw) }()
	o.run(exitDone, &shown, "deadletters", "show", number, "--output", "json")
	if shown.Subject != subject || string(shown.Garbage) != "no event" || shown.Attributes["ce-type"] != "registration.requested" || shown.Detail == "" {
		t.Errorf("%+v", shown)
	}
	if out, _ := o.run(exitDone, nil, "deadletters", "show", number); !strings.Contains(out, "gave up at") || !strings.Contains(out, "8 bytes that are no JSON") {
		t.Error(out)
	}
	o.run(exitFailed, nil, "deadletters", "show", "4711")
	var again []replayed
	o.run(exitFailed, &again, "deadletters", "replay", number, "4711", "--output", "json")
	if len(again) != 2 || again[1].Replayed || again[1].Error == "" {
		t.Errorf("%+v", again)
	}
}

func TestBashCompletesCommandsAndFlags(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("NOT RUN: there is no bash")
	}
	var script bytes.Buffer
	if code := execute(t.Context(), []string{"completion", "bash"}, &script, &script); code != exitDone {
		t.Fatal(script.String())
	}
	for words, want := range map[string]string{
		"usher de":                         "dev deadletters",
		"usher keys r":                     "rotate renew retire rsa",
		"usher config check FILE --o":      "--output",
		"usher keys rsa ":                  "add retire list",
		"usher submit dev --tok":           "--token --token-file",
		"usher deadletters replay --out":   "--output",
		"usher nothing that there is --xy": "",
	} {
		fields := strings.Split(words, " ")
		program := script.String() + "COMP_WORDS=(" + strings.Join(fields[:len(fields)-1], " ") + " \"" + fields[len(fields)-1] + "\")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_usher\necho \"${COMPREPLY[*]}\"\n"
		got, err := exec.CommandContext(t.Context(), bash, "-c", program).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%q: %v, %q, want %q", words, err, got, want)
		}
	}
}

func TestEachShellHasACompletionOfEveryCommand(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out bytes.Buffer
		if code := execute(t.Context(), []string{"completion", shell}, &out, &out); code != exitDone {
			t.Fatal(out.String())
		}
		for _, word := range []string{"deadletters", "replay", "rescreening", "idempotent"} {
			if has := strings.Contains(out.String(), word); has != (word != "idempotent") {
				t.Errorf("%s: %s is there: %v", shell, word, has)
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			check := exec.CommandContext(t.Context(), path, "-n")
			check.Stdin = &out
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s cannot read it: %v\n%s", shell, err, said)
			}
		}
	}
}
