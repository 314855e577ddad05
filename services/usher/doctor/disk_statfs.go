//go:build linux || darwin || freebsd

package doctor

import "golang.org/x/sys/unix"

// freeOf is the part of a directory's disk that is free.
func freeOf(dir string) (part float64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return float64(s.Bavail) / float64(s.Blocks), true
}
