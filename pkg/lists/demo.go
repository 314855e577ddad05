package lists

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed demo/demo.csv
var demo []byte

const demoID = "demo"

// Demo is the invented list of the demonstration.
func Demo() *List {
	entries, date, err := readGeneric(demoID+roleGeneric, bytes.NewReader(demo))
	if err != nil {
		panic(err) // the shipped file is tested
	}
	sum := sha256.Sum256(demo)
	return &List{ID: demoID, Date: date, Hash: hex.EncodeToString(sum[:]), Entries: entries}
}

// WriteDemo makes a directory with the demonstration's list, unless the directory is there. It is
// there whole or not at all.
func WriteDemo(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	whole := dir + ".new"
	if err := os.MkdirAll(whole, 0o755); err != nil {
		return fmt.Errorf("make the directory of lists: %w", err)
	}
	if err := os.WriteFile(filepath.Join(whole, demoID+roleGeneric), demo, 0o644); err != nil {
		return fmt.Errorf("write the demonstration's list: %w", err)
	}
	if err := os.Rename(whole, dir); err != nil {
		return fmt.Errorf("make the directory of lists: %w", err)
	}
	return nil
}
