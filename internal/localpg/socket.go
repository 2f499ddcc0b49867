//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	socketFile = ".s.PGSQL." + port
	// maxSocketPath is the longest path of a unix socket, without its final zero byte: the
	// address holds 108 bytes on Linux and 104 elsewhere.
	maxSocketPath = 103
)

// makeSocketDir creates the directory of the socket and a link to it in dir. Each start gets a
// new one, since the lock file beside a stale socket would stop postgres. It is in dir unless
// the path is too long for a socket. Then it is in /tmp: $TMPDIR may be as long, or closed to
// the account.
func makeSocketDir(dir string, a account) (string, error) {
	const pattern = "postgres.socket-*"
	const random = "0123456789" // MkdirTemp inserts at most ten digits
	parent := dir
	if len(filepath.Join(dir, strings.Replace(pattern, "*", random, 1), socketFile)) > maxSocketPath {
		parent = "/tmp"
	}
	path, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("create a directory for the socket: %w", err)
	}
	if err := errors.Join(a.chown(path), os.Symlink(path, socketLink(dir))); err != nil {
		return "", fmt.Errorf("create a directory for the socket: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// removeSocketDir removes what makeSocketDir and postgres created, in this run or one that was
// killed. It removes exactly these files and no tree, wherever the link points. Files that it
// cannot remove do no harm.
func removeSocketDir(dir string) {
	link := socketLink(dir)
	path, err := os.Readlink(link)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(link)
		}
		return
	}
	for _, stale := range []string{filepath.Join(path, socketFile), filepath.Join(path, socketFile+".lock"), path, link} {
		_ = os.Remove(stale)
	}
}

func socketLink(dir string) string { return filepath.Join(dir, "postgres.socket") }

// quoteListItem quotes a name for a setting that is a list of names.
func quoteListItem(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
