package usher

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish. For bash: source <(usher completion bash)."`
}

func (c completionCommand) Run(out io.Writer, k *kong.Kong) error {
	_, err := io.WriteString(out, map[string]func([]completed) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell](ordered(k.Model.Node, "", nil)))
	return err
}

// completed is a command with what may follow it.
type completed struct {
	path     string // the words after "usher", each with a space before it
	commands []*kong.Node
	flags    []*kong.Flag
}

// ordered lists every command with what may follow it.
func ordered(n *kong.Node, path string, all []completed) []completed {
	c := completed{path: path}
	for _, child := range n.Children {
		if !child.Hidden {
			c.commands = append(c.commands, child)
		}
	}
	for _, flag := range n.Flags {
		if !flag.Hidden {
			c.flags = append(c.flags, flag)
		}
	}
	all = append(all, c)
	for _, child := range c.commands {
		all = ordered(child, path+" "+child.Name, all)
	}
	return all
}

// words are what may follow the command, in the order of its help.
func (c completed) words() string {
	var words []string
	for _, child := range c.commands {
		words = append(words, child.Name)
	}
	for _, flag := range c.flags {
		words = append(words, "--"+flag.Name)
	}
	return strings.Join(words, " ")
}

// cases are the branches of a shell's case over the path.
func cases(all []completed) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "    %q) words=%q ;;\n", c.path, c.words())
	}
	return b.String()
}

// paths are all commands that have commands, and these, for a shell to know which words are none.
func paths(all []completed) string {
	var b strings.Builder
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "%s|", c.path)
	}
	return b.String()
}

func bashCompletion(all []completed) string {
	return `# Completion of usher for bash; written by "usher completion bash".
_usher() {
  local path="" word words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "|` + paths(all) + `" in *"|$path $word|"*) path="$path $word" ;; esac
  done
  case "$path" in
` + cases(all) + `  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _usher usher
`
}

func zshCompletion(all []completed) string {
	return `#compdef usher
# Completion of usher for zsh; written by "usher completion zsh".
_usher() {
  local path_="" word words_ i
  for ((i = 2; i < CURRENT; i++)); do
    word="${words[i]}"
    case "|` + paths(all) + `" in *"|$path_ $word|"*) path_="$path_ $word" ;; esac
  done
  case "$path_" in
` + strings.ReplaceAll(cases(all), ") words=", ") words_=") + `  esac
  compadd -- ${=words_} || _files
}
compdef _usher usher
`
}

func fishCompletion(all []completed) string {
	var b strings.Builder
	b.WriteString("# Completion of usher for fish; written by \"usher completion fish\".\n")
	for _, c := range all {
		condition := "__fish_use_subcommand"
		if c.path != "" {
			condition = "__fish_seen_subcommand_from " + strings.Join(strings.Fields(c.path), "; and __fish_seen_subcommand_from ")
		}
		for _, child := range c.commands {
			fmt.Fprintf(&b, "complete -c usher -n %s -a %s -d %s\n", quoted(condition), child.Name, quoted(child.Help))
		}
		for _, flag := range c.flags {
			fmt.Fprintf(&b, "complete -c usher -n %s -l %s -d %s\n", quoted(condition), flag.Name, quoted(flag.Help))
		}
	}
	return b.String()
}

// quoted is a text between fish's single quotes.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
