// Package proof searches all that an installation keeps for what is left of an erased person: in
// clear, in base64, as a keyed hash, and sealed with any key at hand.
package proof

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/vault"
)

// Person is who was erased.
type Person struct {
	Tenant string
	ID     string // of the registration
	// Values are what the customer is known by: names, addresses, numbers, a password.
	Values []string
}

// entries are the names under which the vault has the person.
func (p Person) entries() []string { return []string{p.ID, vault.CaseOf(p.ID)} }

// lastCase is beyond what reviews of a registration come to.
const lastCase = 12

// sealings are, by key, what the sealed fields of the person are bound to: in the vault, and in the
// documents of accounts, of the notifier, of risk's customers and of the ledger's notes.
func (p Person) sealings() map[string][]string {
	bound := map[string][]string{}
	for _, id := range p.entries() {
		bound[keys.Vault] = append(bound[keys.Vault], p.Tenant+"|"+id+"|person")
	}
	for _, field := range []string{"person", "recipient", "customer"} {
		bound[keys.Data] = append(bound[keys.Data], p.Tenant+"|"+p.ID+"|"+field)
	}
	for version := 1; version <= lastCase; version++ {
		bound[keys.Data] = append(bound[keys.Data], p.Tenant+"|"+p.ID+"-"+strconv.Itoa(version)+"|note")
	}
	return bound
}

// shortest is how long a value must be: a shorter one stands everywhere by chance.
const shortest = 4

// ReadValues reads values, one on each line.
func ReadValues(r io.Reader) (values []string, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		value := strings.TrimSpace(lines.Text())
		switch {
		case value == "":
			continue
		case !utf8.ValidString(value):
			return nil, fmt.Errorf("line %d of the values is not UTF-8", n)
		case utf8.RuneCountInString(value) < shortest:
			return nil, fmt.Errorf("line %d of the values has less than %d characters, which stand everywhere by chance; leave it out", n, shortest)
		}
		values = append(values, value)
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("the values cannot be read to their end")
	}
	return values, nil
}
