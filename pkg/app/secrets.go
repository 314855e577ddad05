package app

import (
	"fmt"
	"os"
	"strings"
)

// SecretVariables can hold a credential. Each may be given as a file instead, named by the variable
// with _FILE after it: what is in a process's environment, whoever inspects its container reads.
var SecretVariables = []string{"NATS_URL", "STORE_URL", "SMTP_URL"}

// ReadSecrets puts the content of the files that NATS_URL_FILE and the others name into the
// process's own view of its environment. It is called once, before the environment is read.
func ReadSecrets() error {
	for _, name := range SecretVariables {
		file := os.Getenv(name + "_FILE")
		if file == "" {
			continue
		}
		if os.Getenv(name) != "" {
			return fmt.Errorf("%s and %s_FILE are both set; keep one", name, name)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s_FILE: %w", name, err)
		}
		value := strings.TrimSpace(string(content))
		if value == "" {
			return fmt.Errorf("%s_FILE: %s is empty", name, file)
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("%s_FILE: %w", name, err)
		}
	}
	return nil
}
