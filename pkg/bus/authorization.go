package bus

import (
	"fmt"
	"strings"
)

// account holds the streams and the users of our own. Each subscriber has an account for itself:
// the broker sends an answer wherever a request asks for it, within the account that asked.
const account = "USHER"

// Authorization writes the users as an include of a NATS server's configuration. Their
// passwords are the variables <user>_password of passwords.conf beside it, and the subscribers
// the lines of subscribers.conf.
func Authorization(users []User) string {
	var b strings.Builder
	b.WriteString("# Written by `usher topology permissions`; do not edit.\n" +
		"include passwords.conf\n\n" +
		"authorization {timeout: 5}\n" +
		"accounts {\n" +
		"  include subscribers.conf\n" +
		"  " + account + " {\n" +
		"    jetstream: enabled\n" +
		"    exports: [\n")
	for _, s := range reading("*", "*") {
		fmt.Fprintf(&b, "      {service: %q, response_type: stream}\n", s)
	}
	b.WriteString("    ]\n" +
		"    default_permissions: {publish: {deny: \">\"}, subscribe: {deny: \">\"}}\n" +
		"    users: [\n")
	for _, u := range users {
		fmt.Fprintf(&b, "      {\n        user: %q\n        password: $%s\n        permissions: {\n", u.Name, PasswordVariable(u.Name))
		list(&b, "publish", u.Publish)
		list(&b, "subscribe", u.Subscribe)
		b.WriteString("        }\n      }\n")
	}
	b.WriteString("    ]\n  }\n}\n")
	return b.String()
}

// PasswordVariable names the configuration variable that holds the hash of a user's password.
func PasswordVariable(user string) string { return user + "_password" }

func list(b *strings.Builder, name string, subjects []string) {
	fmt.Fprintf(b, "          %s: {allow: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "            %q\n", s)
	}
	b.WriteString("          ]}\n")
}
