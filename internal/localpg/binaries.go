package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const installHint = "on Debian and Ubuntu `apt-get install postgresql` installs them"

// FindBinaries returns the directory that holds initdb and postgres: binDir if it is not empty,
// else the first of PATH and Debian's /usr/lib/postgresql/<major>/bin, newest first. The error
// says how to install them.
func FindBinaries(binDir string) (string, error) {
	found, err := findAllBinaries(binDir)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// findAllBinaries returns all candidates, best first. Without an error there is at least one.
func findAllBinaries(binDir string) ([]string, error) {
	if binDir != "" {
		if !hasBinaries(binDir) {
			return nil, fmt.Errorf("no PostgreSQL programs (initdb, postgres) in %s; %s", binDir, installHint)
		}
		return []string{binDir}, nil
	}
	var found []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		found = append(found, filepath.Dir(initdb))
	}
	found = slices.DeleteFunc(append(found, debianDirs()...), func(dir string) bool { return !hasBinaries(dir) })
	if len(found) == 0 {
		return nil, errors.New("no PostgreSQL programs (initdb, postgres) in PATH or /usr/lib/postgresql; " + installHint)
	}
	return found, nil
}

// FindProgram returns the path of another PostgreSQL program, such as pg_dump, that works with
// a server of a major version: one of the same version, else a newer one. It looks in binDir,
// or where FindBinaries looks. The error says how to install it.
func FindProgram(ctx context.Context, name, binDir string, major int) (string, error) {
	dirs := []string{binDir}
	if binDir == "" {
		dirs = debianDirs()
		// PATH comes last: on Debian it holds a wrapper around these same programs.
		if path, err := exec.LookPath(name); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	newer := ""
	for _, dir := range dirs {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		output, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("run %s --version: %w", path, err)
		}
		found, _ := strconv.Atoi(firstNumber.FindString(string(output))) // 0, if there is no number, is too old
		switch {
		case found == major:
			return path, nil
		case found > major:
			newer = path
		}
	}
	if newer == "" {
		return "", fmt.Errorf("no %s of PostgreSQL %d or newer; on Debian and Ubuntu `apt-get install postgresql-client-%[2]d` installs it", name, major)
	}
	return newer, nil
}

func hasBinaries(dir string) bool {
	_, initdbErr := exec.LookPath(filepath.Join(dir, "initdb"))
	_, postgresErr := exec.LookPath(filepath.Join(dir, "postgres"))
	return initdbErr == nil && postgresErr == nil
}

// debianDirs returns the directories of Debian's packages, newest first.
func debianDirs() []string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the only possible error is a malformed pattern
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(debianMajor(b), debianMajor(a)) })
	return dirs
}

func debianMajor(binDir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(binDir))) // 0, if it is not a number, sorts last
	return major
}

var firstNumber = regexp.MustCompile(`\d+`)
