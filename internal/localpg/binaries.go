package localpg

import (
	"cmp"
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
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // its only error is a malformed pattern
	slices.SortFunc(debian, func(a, b string) int { return cmp.Compare(debianMajor(b), debianMajor(a)) })
	found = slices.DeleteFunc(append(found, debian...), func(dir string) bool { return !hasBinaries(dir) })
	if len(found) == 0 {
		return nil, errors.New("there are no PostgreSQL programs (initdb, postgres) in PATH or /usr/lib/postgresql; " +
			howToInstall)
	}
	return found, nil
}

func hasBinaries(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			return false
		}
	}
	return true
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
