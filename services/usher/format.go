package usher

import (
	"encoding/json"
	"io"
)

// The ways in which a command prints what it found.
const (
	outputText = "text" // for people; may change
	outputJSON = "json" // of the command's shape, to which members are only added
)

// shaped is a command that prints JSON; shape is an example of it, with one element in each list.
type shaped interface{ shape() any }

// format is how a command prints what it found.
type format struct {
	Output string `default:"text" enum:"text,json" help:"text or json."`
}

// print writes what was found as JSON, or what text writes of it.
func (f format) print(out io.Writer, found any, text func(io.Writer) error) error {
	if f.Output == outputJSON {
		return writeJSON(out, found)
	}
	return text(out)
}

func writeJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// writeLine writes JSON on a line of its own, for commands that go on.
func writeLine(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
