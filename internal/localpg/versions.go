//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// binariesFor returns the binaries for a cluster of a major version, or the best ones if major
// is "". If a newer PostgreSQL is installed beside the cluster's, the cluster's is used.
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

// majorVersion runs `postgres -V` as the account and in the data directory, which also checks
// that the account can reach both.
func majorVersion(bin, dir string, a account) (string, error) {
	postgres := filepath.Join(bin, "postgres")
	cmd := a.command(postgres, "-V")
	cmd.Dir = dir
	output, err := cmd.Output()
	if errors.Is(err, fs.ErrPermission) {
		return "", a.explainDenied(err, dir, postgres)
	}
	if err != nil {
		return "", fmt.Errorf("run %s -V: %w", postgres, err)
	}
	major := firstNumber.FindString(string(output))
	if major == "" {
		return "", fmt.Errorf("run %s -V: no version in the output %q", postgres, output)
	}
	return major, nil
}
