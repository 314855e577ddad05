package bench

import (
	"os"
	"os/exec"
)

// Again returns a NoOp of Options that runs this program once more, with arguments and the address.
func Again(args ...string) func(addr string) (stop func(), err error) {
	return func(addr string) (func(), error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command := exec.Command(self, append(args, addr)...)
		if err := command.Start(); err != nil {
			return nil, err
		}
		return func() { _ = command.Process.Kill(); _ = command.Wait() }, nil
	}
}
