package proof

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Files are read in pieces that overlap by the longest thing that is looked for.
const (
	piece   = 8 << 20
	overlap = 1<<20 + 4<<10
)

// Files searches every file under a directory byte by byte: databases with their logs, the broker's
// blocks, captured mails, logs. Files that end meanwhile are left out.
func (s *Search) Files(dir string) error {
	place, searched := "files under "+dir, 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			err = s.file(path)
			if searched++; searched%filesTold == 0 {
				s.Progress(place, searched, "files")
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("search files: %w", err)
		}
		return nil
	})
	s.Progress(place, searched, "files")
	return err
}

const filesTold = 1000

func (s *Search) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	place := "file " + path
	buffer := make([]byte, piece+overlap)
	for offset := int64(0); ; offset += piece {
		n, err := f.ReadAt(buffer, offset)
		s.Data(place, buffer[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.Progress(place, int(offset)+n, "bytes")
	}
}
