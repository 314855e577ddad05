package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ url, file, want, problem string }{
		"a file's content is the variable's value, without the line's end": {file: write("url", "nats://a:b@c\n"), want: "nats://a:b@c"},
		"without a file the variable counts":                               {url: "nats://d", want: "nats://d"},
		"both are refused":                                                 {url: "nats://d", file: write("both", "nats://e"), problem: "NATS_URL and NATS_URL_FILE are both set"},
		"a file that is not there is refused":                              {file: filepath.Join(dir, "absent"), problem: "NATS_URL_FILE: open"},
		"an empty file is refused":                                         {file: write("empty", "\n"), problem: "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NATS_URL", c.url)
			t.Setenv("NATS_URL_FILE", c.file)
			err := ReadSecrets()
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("error is %v, want %q", err, c.problem)
				}
				return
			}
			if got := os.Getenv("NATS_URL"); err != nil || got != c.want {
				t.Errorf("NATS_URL is %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
