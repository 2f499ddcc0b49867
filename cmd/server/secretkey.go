package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"parley/internal/secret"
)

const secretKeyFile = "secret-key"

var errNoSecretKey = errors.New("PARLEY_SECRET_KEY: it must be set beside DATABASE_URL, to 32 random bytes in base64, " +
	"such as `head -c 32 /dev/urandom | base64` prints; every instance needs the same")

// mustHaveSecretKey refuses a database that others keep without a key that they know: one made here would be another
// one in every instance, and gone with the data directory.
func mustHaveSecretKey(config config) error {
	if config.DatabaseURL != "" && config.SecretKey == "" {
		return errNoSecretKey
	}
	return nil
}

// secretKeys returns the keys that secrets are sealed under: those given, else the one that the data directory keeps,
// which is made when there is none yet. The caller holds the data directory for itself.
func secretKeys(config config) (*secret.Keys, error) {
	if config.SecretKey != "" {
		return secret.Parse(config.SecretKey)
	}
	path := filepath.Join(config.DataDir, secretKeyFile)
	kept, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeSecretKey(path)
	case err != nil:
		return nil, fmt.Errorf("read the secret key: %w", err)
	}
	keys, err := secret.Parse(strings.TrimSpace(string(kept)))
	if err != nil {
		return nil, fmt.Errorf("read the secret key %s: %w", path, err)
	}
	return keys, nil
}

// makeSecretKey keeps a new key before anything is sealed under it, and wholly or not at all.
func makeSecretKey(path string) (*secret.Keys, error) {
	fresh := secret.NewKey()
	err := writeWhole(path, func(w io.Writer) error {
		_, err := io.WriteString(w, fresh+"\n")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keep the secret key: %w", err)
	}
	return secret.Parse(fresh)
}

// writeWhole writes a file for nobody else to read; a reader finds all of it or none, also after a power cut.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what went wrong is told already
		}
	}()
	err = write(file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
