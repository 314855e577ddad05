package usher

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// variable is an environment variable that the services or the command line read.
type variable struct {
	Name    string `json:"name"`
	Of      string `json:"of"` // who reads it
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}

// The readers of variables.
const (
	ofAll      = "all services"
	ofCommands = "commands"
)

// environment is every variable there is; a test compares it with what the code reads.
var environment = []variable{
	{"NATS_URL", ofAll + ", " + ofCommands, "none; needed", "the broker: nats://USER:PASSWORD@HOST:PORT, or tls://…; several separated by commas, each with its user; the password percent-encoded"},
	{"NATS_CREDS", ofAll + ", " + ofCommands, "", "file of credentials, for a broker that asks for them in the place of a password"},
	{"NATS_CA", ofAll + ", " + ofCommands, "the system's", "file of the authority that signed the broker's certificate, in PEM"},
	{"STORE_URL", ofAll + ", " + ofCommands, "none; needed", "documents: sqlite://DIR, a file for each service, or mongodb://USER:PASSWORD@HOST/DATABASE"},
	{"NATS_URL_FILE", ofAll + ", " + ofCommands, "", "file that has NATS_URL, in its place: what holds a password need not be in the environment"},
	{"STORE_URL_FILE", ofAll + ", " + ofCommands, "", "file that has STORE_URL, in its place"},
	{"SMTP_URL_FILE", "notifier, usher doctor", "", "file that has SMTP_URL, in its place"},
	{"USHER_CONFIG", ofAll + ", " + ofCommands, "the demonstration, which has no tokens", "file of the tenants; the keys below"},
	{"USHER_KEYS", ofAll + ", " + ofCommands, "none; needed", "directory of key files; give each service only those it needs"},
	{"USHER_LISTS", "risk, ledger", "the demonstration's invented list alone; of `usher dev` lists in its data directory", "directory of screening lists, which ledger shows to reviewers"},
	{"USHER_RESCREEN_RATE", "risk", "100", "customers screened again per second when lists change, 5 to 10000"},
	{"USHER_PASSWORD_BLOCKLIST", "gateway, accounts", "", "file of one password a line that no customer may choose, besides the 7,000 most common ones"},
	{"GATEWAY_ADDR", "gateway", "none; needed", "where it listens: HOST:PORT"},
	{"NOTIFIER_ADDR", "notifier", "nowhere; of `usher dev` the ledger's", "where operators find letters that wait, by GET /v1/letters: HOST:PORT"},
	{"USHER_EGRESS_ALLOW", "ledger, notifier", "none; of `usher dev` 127.0.0.0/8,::1", "what tenants' endpoints and webhooks may be besides public addresses: addresses, networks as 10.1.0.0/16 and host names, separated by commas"},
	{"LEDGER_ADDR", "ledger", "none; needed", "where it listens: HOST:PORT"},
	{"OPS_ADDR", ofAll, "nowhere", "where /livez, /readyz and /metrics are served besides: HOST:PORT"},
	{"OPS_PPROF", ofAll, "false", "true: OPS_ADDR also serves /debug/pprof/"},
	{"SMTP_URL", "notifier, usher doctor", "none; needed; of `usher dev` a server that keeps the mails", "where mail goes: smtp://HOST:PORT, smtp+starttls://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT"},
	{"PUBLIC_URL", "notifier", "none; needed; of `usher dev` its gateway", "base of the links in mails"},
	{"ACCOUNTS_ARGON2", "accounts", "the tenants'", "argon2id parameters in their place: m=KiB,t=passes,p=lanes, such as m=19456,t=2,p=1"},
	{"ACCOUNTS_HASH_MEMORY", "accounts", "256", "MiB that the hashes of a moment may take"},
	{"ACCOUNTS_INSECURE_HASH", "accounts", "false", "true: ACCOUNTS_ARGON2 may be weaker than OWASP allows; for measurements, never for customers"},
	{"LOG_FORMAT", ofAll, "text", "json or text"},
	{"LOG_LEVEL", ofAll, "info", "debug, info, warn or error"},
	{"OTEL_EXPORTER_OTLP_ENDPOINT", ofAll, "nothing is exported", "where traces, metrics and logs go; the other OTEL_ variables of OpenTelemetry count too"},
	{"GOGC", ofAll, "400", "the collector's target in percent, as Go documents it"},
	{"GOMEMLIMIT", ofAll, "none; of `usher dev` 300 MiB", "memory from which on the collector works harder, as Go documents it"},
	{"USHER_URL", ofCommands, "http://127.0.0.1:8080", "the gateway, for --url"},
	{"USHER_OPS", ofCommands, "http://127.0.0.1:8081", "the ledger, for --ops"},
	{"USHER_TOKEN", ofCommands, "", "bearer token, for --token"},
	{"USHER_TOKEN_FILE", ofCommands, "", "file of the bearer token, for --token-file; it counts before USHER_TOKEN"},
	{"USHER_DEV_TOKEN", "usher dev, " + ofCommands, "made at random and kept in its data directory", "bearer token of `usher dev`, and for --token where USHER_TOKEN is not set"},
	{"USHER_TENANT", ofCommands, "the token's, where it has one only", "the tenant, for --tenant"},
}

type configEnvironment struct{ format }

func (configEnvironment) shape() any { return []variable{{}} }

func (c configEnvironment) Run(out io.Writer) error {
	return c.print(out, environment, func(out io.Writer) error {
		table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(table, "VARIABLE\tOF\tDEFAULT\tMEANING")
		for _, v := range environment {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Name, v.Of, or(v.Default), v.Meaning)
		}
		return table.Flush()
	})
}
