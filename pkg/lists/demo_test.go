package lists

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestTheDemonstrationIsTheSameInTheProgramAndInADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "lists")
	for range 2 {
		if err := WriteDemo(dir); err != nil {
			t.Fatal(err)
		}
	}
	written, err := Load(dir)
	if err != nil || len(written) != 1 || !reflect.DeepEqual(written[0], Demo()) {
		t.Errorf("written are %v, %v", written, err)
	}
}

func TestADirectoryThatIsThereIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("it holds %v, %v", files, err)
	}
}
