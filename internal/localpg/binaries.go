package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const howToInstall = "on Debian and Ubuntu `apt-get install postgresql` installs them"

// FindBinaries returns the directory that holds initdb and postgres: binDir when it is given, else the first of PATH
// and Debian's /usr/lib/postgresql/<major>/bin, newest first. The error says how to install them.
func FindBinaries(binDir string) (string, error) {
	found, err := findAllBinaries(binDir)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// findAllBinaries returns every candidate, best first, and never an empty list without an error.
func findAllBinaries(binDir string) ([]string, error) {
	if binDir != "" {
		if !hasBinaries(binDir) {
			return nil, fmt.Errorf("there are no PostgreSQL programs (initdb, postgres) in %s; %s", binDir, howToInstall)
		}
		return []string{binDir}, nil
	}
	var found []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		found = append(found, filepath.Dir(initdb))
	}
	found = slices.DeleteFunc(append(found, debianDirs()...), func(dir string) bool { return !hasBinaries(dir) })
	if len(found) == 0 {
		return nil, errors.New("there are no PostgreSQL programs (initdb, postgres) in PATH or /usr/lib/postgresql; " +
			howToInstall)
	}
	return found, nil
}

// FindProgram returns the path of another program of PostgreSQL, such as pg_dump, for a server of a major version: the
// one of that version, else a newer one, in binDir or where FindBinaries looks. The error says how to install it.
func FindProgram(ctx context.Context, name, binDir string, major int) (string, error) {
	dirs := []string{binDir}
	if binDir == "" {
		dirs = debianDirs()
		// Last: on Debian it only chooses among those.
		if path, err := exec.LookPath(name); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	newer := ""
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if !isProgram(path) {
			continue
		}
		said, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("ask %s for its version: %w", path, err)
		}
		found, _ := strconv.Atoi(firstNumber.FindString(string(said))) // one without a number is too old
		switch {
		case found == major:
			return path, nil
		case found > major:
			newer = path
		}
	}
	if newer == "" {
		return "", fmt.Errorf("there is no %s of PostgreSQL %d or newer; on Debian and Ubuntu `apt-get install postgresql-client-%[2]d` installs it", name, major)
	}
	return newer, nil
}

func hasBinaries(dir string) bool {
	return isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres"))
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// debianDirs lists Debian's places, newest first.
func debianDirs() []string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // its only error is a malformed pattern
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(debianMajor(b), debianMajor(a)) })
	return dirs
}

func debianMajor(binDir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(binDir))) // a name that is no number sorts last
	return major
}

// binariesFor returns the binaries for a cluster of the given major version, or the best ones when major is "". An
// installation that has got a newer PostgreSQL beside the old one thus goes on with the old.
func binariesFor(major, binDir, dir string, a account) (string, error) {
	found, err := findAllBinaries(binDir)
	if err != nil {
		return "", err
	}
	var versions []string
	for _, bin := range found {
		version, err := majorVersion(bin, dir, a)
		if err != nil {
			return "", err
		}
		if major == "" || major == version {
			return bin, nil
		}
		versions = append(versions, version+" in "+bin)
	}
	return "", fmt.Errorf("the cluster in %s was made by PostgreSQL %s but the programs found are %s: "+
		"install PostgreSQL %s, or move the data with pg_upgrade or pg_dump",
		dir, major, strings.Join(versions, ", "), major)
}

var firstNumber = regexp.MustCompile(`\d+`)

// majorVersion asks postgres for its version, as the account and in the directory it will run in: so it is also the
// exact test of whether that account can get at both.
func majorVersion(bin, dir string, a account) (string, error) {
	postgres := filepath.Join(bin, "postgres")
	cmd := a.command(postgres, "-V")
	cmd.Dir = dir
	out, err := cmd.Output()
	if errors.Is(err, fs.ErrPermission) {
		return "", a.explainDenied(err, dir, postgres)
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", postgres, err)
	}
	major := firstNumber.FindString(string(out))
	if major == "" {
		return "", fmt.Errorf("ask %s for its version: the answer is %q", postgres, out)
	}
	return major, nil
}
