//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating system user that postgres runs as. The zero account is the user of
// this program.
type account struct {
	name       string
	credential *syscall.Credential
}

// accountFor returns the account to run postgres as. It is the program's own unless that is
// root, which postgres refuses: then it is the owner of the existing cluster, else the user
// "postgres", else "nobody".
func accountFor(clusterPath string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	if info, err := os.Stat(clusterPath); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			name := strconv.FormatUint(uint64(owner.Uid), 10)
			if u, err := user.LookupId(name); err == nil {
				name = u.Username
			}
			return account{name, &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("look up user %s: %w", name, err)
		}
		return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return account{}, errors.New("postgres refuses to run as root and there is no user postgres or nobody to run it as; " +
		"run this program as an ordinary user")
}

// command prepares a PostgreSQL program to run as the account. The kernel kills it if this
// program dies (on Linux).
func (a account) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...) //nolint:noctx // postgres outlives the context that it was started with
	cmd.SysProcAttr = a.attributes(syscall.SIGKILL)
	// The rest of the environment is withheld: it may hold secrets, and PG… variables for another
	// server. The locale fixes the language of messages; initdb stores the time zone.
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok { //nolint:forbidigo // passed on to postgres, not read
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// makeDir creates a directory that only the account can enter.
func (a account) makeDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return a.chown(path)
}

func (a account) chown(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// explainDenied turns a "permission denied" into an error that names the inaccessible directory and the remedies.
func (a account) explainDenied(denied error, paths ...string) error {
	if a.credential == nil {
		return fmt.Errorf("run postgres: %w", denied)
	}
	for _, path := range paths {
		if closed := a.closedDir(path); closed != "" {
			return fmt.Errorf("postgres must run as user %s, which cannot enter %s on the way to %s: "+
				"choose another data directory, run `chmod o+x %s`, or run this program as an ordinary user: %w",
				a.name, closed, path, closed, fs.ErrPermission)
		}
	}
	return fmt.Errorf("run postgres as user %s: %w", a.name, denied)
}

// closedDir returns the first directory on the way to path, path included, whose mode bits do
// not let the account enter, or "".
func (a account) closedDir(path string) string {
	parent := filepath.Dir(path)
	if parent != path {
		if closed := a.closedDir(parent); closed != "" {
			return closed
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	enter := fs.FileMode(0o001)
	switch {
	case stat.Uid == a.credential.Uid:
		enter = 0o100
	case stat.Gid == a.credential.Gid:
		enter = 0o010
	}
	if info.Mode().Perm()&enter == 0 {
		return path
	}
	return ""
}
