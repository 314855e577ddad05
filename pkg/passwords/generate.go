//go:build ignore

// Writes frequent.txt: the passwords of the frequency list of zxcvbn (Dropbox, from published
// breaches) in the order of their frequency, as github.com/ccojocar/zxcvbn-go carries it (MIT; its
// notice is frequent.LICENSE). The module is read, not imported: nothing of it is linked.
package main

import (
	"encoding/json"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"
)

const source = "github.com/ccojocar/zxcvbn-go@v1.0.4"

// shortest leaves out what no tail of digits and signs makes long enough for any tenant's minimum.
const shortest = 3

func main() {
	out, err := exec.Command("go", "mod", "download", "-json", source).Output()
	must(err)
	var module struct{ Dir string }
	must(json.Unmarshal(out, &module))
	raw, err := os.ReadFile(filepath.Join(module.Dir, "data", "data", "Passwords.json"))
	must(err)
	var list struct{ List []string }
	must(json.Unmarshal(raw, &list))
	var text strings.Builder
	seen := map[string]bool{}
	for _, word := range list.List {
		word = norm.NFKC.String(strings.ToLower(word))
		if len(word) < shortest || seen[word] || strings.ContainsAny(word, " \t\r\n") {
			continue
		}
		seen[word] = true
		text.WriteString(word + "\n")
	}
	must(os.WriteFile("frequent.txt", []byte(text.String()), 0o644))
	licence, err := os.ReadFile(filepath.Join(module.Dir, "LICENSE.txt"))
	must(err)
	must(os.WriteFile("frequent.LICENSE", licence, 0o644))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
