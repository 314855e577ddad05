//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

// actions are what this test binary does to a directory when it runs as another process.
var actions = map[string]func(ctx context.Context, dir string) error{"ensure": ensure, "locked": locked}

func TestMain(m *testing.M) {
	if len(os.Args) != 3 || actions[os.Args[1]] == nil {
		os.Exit(m.Run())
	}
	if err := actions[os.Args[1]](context.Background(), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func elsewhere(t *testing.T, action, dir string) error {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), os.Args[0], action, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%s in another process: %w: %s", action, err, output)
	}
	return nil
}

func ensure(ctx context.Context, dir string) error {
	b, err := store.Open(ctx, "sqlite://"+dir, "test", nil)
	if err != nil {
		return err
	}
	return errors.Join(b.Ensure(ctx, storetest.Schema), b.Close())
}

// locked says whether another process holds SQLite's shared lock on a database: the 510 bytes
// after the first two past 1 GiB (https://www.sqlite.org/fileformat2.html, the lock-byte page).
func locked(_ context.Context, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "test.db"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: 1<<30 + 2, Len: 510}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return err
	}
	if lock.Type == syscall.F_UNLCK {
		return errors.New("nobody holds the lock")
	}
	return nil
}

func TestProcessesThatStartTogetherAllMakeTheCollection(t *testing.T) {
	dir := t.TempDir()
	var processes sync.WaitGroup
	for range 8 {
		processes.Go(func() {
			if err := elsewhere(t, "ensure", dir); err != nil {
				t.Error(err)
			}
		})
	}
	processes.Wait()
	b := openedSQLite(t, dir)
	if err := b.Verify(t.Context(), storetest.Schema); err != nil {
		t.Error(err)
	}
}

// Without its lock a database looks unused, and a process that closes it removes the log that
// others still write to.
func TestADatabaseThatIsOpenTwiceKeepsItsLock(t *testing.T) {
	dir := t.TempDir()
	preparedSQLite(t, dir)
	openedSQLite(t, dir)
	if err := elsewhere(t, "locked", dir); err != nil {
		t.Error(err)
	}
}
