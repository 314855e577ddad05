package screening

import (
	_ "embed"
	"strings"
)

//go:embed particles.txt
var particlesText string

//go:embed nicknames.txt
var nicknamesText string

// particles are words of little weight; see particles.txt.
var particles = func() map[string]bool {
	set := map[string]bool{}
	for _, line := range lines(particlesText) {
		for _, word := range strings.Fields(line) {
			set[word] = true
		}
	}
	return set
}()

// nicknames maps a name to all that stand for it; see nicknames.txt.
var nicknames = func() map[string][]string {
	groups := map[string][]string{}
	for _, line := range lines(nicknamesText) {
		group := strings.Fields(line)
		for _, name := range group {
			groups[name] = append(groups[name], group...)
		}
	}
	return groups
}()

func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}
