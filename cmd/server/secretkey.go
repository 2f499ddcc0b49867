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

var errNoSecretKey = errors.New("PARLEY_SECRET_KEY: must be set if DATABASE_URL is, to 32 random bytes in base64 " +
	"(head -c 32 /dev/urandom | base64), the same ones on every instance")

// requireSecretKey returns an error if DATABASE_URL is set without a secret key. A generated key would
// differ between instances and be lost with the data directory.
func requireSecretKey(config config) error {
	if config.DatabaseURL != "" && config.SecretKey == "" {
		return errNoSecretKey
	}
	return nil
}

// loadSecretKeys returns the keys that encrypt secrets: those of the configuration, else the one in the
// data directory, which is created if it does not exist. The caller must hold the lock of the data
// directory.
func loadSecretKeys(config config) (*secret.Keys, error) {
	if config.SecretKey != "" {
		return secret.Parse(config.SecretKey)
	}
	path := filepath.Join(config.DataDir, secretKeyFile)
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createSecretKey(path)
	case err != nil:
		return nil, fmt.Errorf("read the secret key: %w", err)
	}
	keys, err := secret.Parse(strings.TrimSpace(string(content)))
	if err != nil {
		return nil, fmt.Errorf("parse the secret key %s: %w", path, err)
	}
	return keys, nil
}

// createSecretKey stores a new key durably before anything is encrypted with it.
func createSecretKey(path string) (*secret.Keys, error) {
	key := secret.NewKey()
	err := writeFileAtomically(path, func(w io.Writer) error {
		_, err := io.WriteString(w, key+"\n")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store the secret key: %w", err)
	}
	return secret.Parse(key)
}

// writeFileAtomically writes a file that only its owner can read. Even after a power failure, the file
// has either all of its content or does not exist.
func writeFileAtomically(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the first error is returned
		}
	}()
	err = write(file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
