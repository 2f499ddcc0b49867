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

	// maxSocketPath is the room for a path in a socket's address, less its final zero: 108 bytes on Linux, 104 elsewhere.
	maxSocketPath = 103
)

// makeSocketDir makes the directory of the socket and links it from dir. It is a fresh one for each start, as the lock
// file beside a stale socket would stop postgres. It is in dir unless the path gets too long for a socket; then it is
// in /tmp, not in $TMPDIR, which may be as long, or closed to the account.
func makeSocketDir(dir string, a account) (string, error) {
	const pattern = "postgres.socket-*"
	const random = "0123456789" // MkdirTemp puts at most ten digits
	parent := dir
	if len(filepath.Join(dir, strings.Replace(pattern, "*", random, 1), socketFile)) > maxSocketPath {
		parent = "/tmp"
	}
	path, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("make a directory for the socket: %w", err)
	}
	if err := errors.Join(a.own(path), os.Symlink(path, socketLink(dir))); err != nil {
		return "", fmt.Errorf("make a directory for the socket: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// removeSocketDir removes what makeSocketDir and postgres made, now or in a run that was killed. It removes these very
// files and no tree, wherever the link may point. What it cannot remove is litter and does no harm.
func removeSocketDir(dir string) {
	link := socketLink(dir)
	path, err := os.Readlink(link)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(link)
		}
		return
	}
	for _, litter := range []string{filepath.Join(path, socketFile), filepath.Join(path, socketFile+".lock"), path, link} {
		_ = os.Remove(litter)
	}
}

func socketLink(dir string) string { return filepath.Join(dir, "postgres.socket") }

// quoteListItem quotes a name for a setting that is a list of names.
func quoteListItem(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
