package usher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

type topologyCommand struct {
	Apply       topologyApply       `cmd:"" help:"Create what is missing and update what differs; nothing is ever deleted."`
	Permissions topologyPermissions `cmd:"" help:"Print the broker's users and all that each may do, for its configuration."`
	Passwords   topologyPasswords   `cmd:"" help:"Make the passwords of the broker's users that are missing, and the file of their hashes."`
}

type topologyPermissions struct{}

func (topologyPermissions) Run(out io.Writer) error {
	_, err := io.WriteString(out, bus.Authorization(bus.Users()))
	return err
}

type topologyPasswords struct {
	Dir string `arg:"" help:"Directory of USER.password, for that user, and passwords.conf and subscribers.conf, for the broker."`
	format
}

// passwordsMade is where the passwords of which users are.
type passwordsMade struct {
	Dir   string   `json:"dir"`
	Users []string `json:"users"`
}

func (topologyPasswords) shape() any { return passwordsMade{Users: []string{""}} }

func (p topologyPasswords) Run(out io.Writer) error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of passwords: %w", err)
	}
	var hashes strings.Builder
	made := passwordsMade{Dir: p.Dir}
	for _, u := range bus.Users() {
		hash, err := brokerPassword(p.Dir, u.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&hashes, "%s: %q\n", bus.PasswordVariable(u.Name), hash)
		made.Users = append(made.Users, u.Name)
	}
	if err := rewrite(filepath.Join(p.Dir, "passwords.conf"), []byte(hashes.String())); err != nil {
		return fmt.Errorf("write hashes: %w", err)
	}
	if err := subscribersFile(p.Dir).change("", ""); err != nil {
		return err
	}
	return p.print(out, made, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "passwords of %d users are in %s; give each user only its own\n", len(made.Users), p.Dir)
		return err
	})
}

// randomPassword is the length of a made password before it is in hexadecimal digits: 256 bits, which
// nobody guesses however fast the hash is. The broker computes it for every connection, all at once
// after a restart.
const randomPassword = 32

// brokerPassword returns the hash of a user's password, which it makes at random where the directory
// has none.
func brokerPassword(dir, user string) (hash []byte, err error) {
	file := passwordFile(dir, user)
	password, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		random := make([]byte, randomPassword)
		_, _ = rand.Read(random)
		password = hex.AppendEncode(nil, random)
		err = os.WriteFile(file, password, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("keep password: %w", err)
	}
	cost := bcrypt.DefaultCost
	if random, err := hex.DecodeString(string(password)); err == nil && len(random) == randomPassword {
		cost = bcrypt.MinCost
	}
	if hash, err = bcrypt.GenerateFromPassword(password, cost); err != nil {
		return nil, fmt.Errorf("hash password of %s: %w", user, err)
	}
	return hash, nil
}

func passwordFile(dir, user string) string { return filepath.Join(dir, user+".password") }

// topologyApply reads NATS_URL, STORE_URL and USHER_CONFIG.
type topologyApply struct{ format }

// applied is what is as configured now.
type applied struct {
	Streams     int              `json:"streams"`
	Consumers   int              `json:"consumers"`
	Collections []events.Service `json:"collections"` // of these services; none without STORE_URL
}

func (topologyApply) shape() any { return applied{Collections: []events.Service{""}} }

func (a topologyApply) Run(ctx context.Context, out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	b, done, err := dial(ctx, bus.TopologyUser)
	if err != nil {
		return err
	}
	defer done()
	topology := app.Topology(config)
	if err := topology.Apply(ctx, b.JetStream()); err != nil {
		return err
	}
	made := applied{Streams: len(topology.Streams()), Consumers: len(bus.Consumers()), Collections: []events.Service{}}
	if url := os.Getenv("STORE_URL"); url != "" {
		if made.Collections, err = ensureCollections(ctx, url); err != nil {
			return err
		}
	}
	return a.print(out, made, made.text)
}

func (a applied) text(out io.Writer) error {
	fmt.Fprintf(out, "%d streams and %d consumers are as configured\n", a.Streams, a.Consumers)
	if len(a.Collections) == 0 {
		fmt.Fprintln(out, "STORE_URL is not set: collections were left alone")
	}
	for _, s := range a.Collections {
		fmt.Fprintf(out, "collections of %s are as configured\n", s)
	}
	return nil
}

func ensureCollections(ctx context.Context, url string) (of []events.Service, err error) {
	for _, s := range Services {
		backend, err := store.Open(ctx, url, string(s.Name), nil)
		if err != nil {
			return nil, err
		}
		err = backend.Ensure(ctx, append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...)
		if closeErr := backend.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("collections of %s: %w", s.Name, err)
		}
		of = append(of, s.Name)
	}
	return of, nil
}
