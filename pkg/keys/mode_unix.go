//go:build unix

package keys

import (
	"io/fs"
	"os"
	"syscall"
)

// exposed reports a key that others than its holder can read. What root owns may be read by a group:
// so an orchestrator mounts a secret for a process that is not root.
func exposed(info fs.FileInfo) bool {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid == 0 {
		return info.Mode().Perm()&0o037 != 0
	}
	return info.Mode().Perm()&0o077 != 0
}

// own gives a file the owner and the group that another has.
func own(f *os.File, like fs.FileInfo) error {
	if s, ok := like.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(s.Uid), int(s.Gid))
	}
	return nil
}
