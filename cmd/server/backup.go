package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"parley/internal/backup"
)

// requireDatabase returns an error if a backup would create an empty database first.
func requireDatabase(config config) error {
	if _, err := os.Lstat(filepath.Join(config.DataDir, "postgres")); config.DatabaseURL == "" && err != nil {
		return fmt.Errorf("no database found: set DATABASE_URL, or PARLEY_DATA_DIR to a data directory with one (%s has none)", config.DataDir)
	}
	return nil
}

// backUp writes a backup of the database to a new file that only its owner can read. The database may
// be in use.
func backUp(ctx context.Context, config config, databaseURL, path string, out io.Writer) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file %s already exists and is not overwritten", path)
	}
	database := backup.Database{Address: databaseURL, BinDir: config.PostgresBin}
	if err := writeFileAtomically(path, func(w io.Writer) error { return database.Dump(ctx, w) }); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	key := "PARLEY_SECRET_KEY"
	if config.SecretKey == "" {
		key = "the file " + filepath.Join(config.DataDir, secretKeyFile)
	}
	_, err := fmt.Fprintf(out, "Backed up to %s.\nThe backup does not contain the secret key. Keep a copy of %s in another place.\n", path, key)
	return err
}

// restore restores a backup into an empty database.
func restore(ctx context.Context, config config, databaseURL, path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer file.Close()
	if err := (backup.Database{Address: databaseURL, BinDir: config.PostgresBin}).Restore(ctx, file); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = fmt.Fprintf(out, "Restored from %s.\n", path)
	keyPath := filepath.Join(config.DataDir, secretKeyFile)
	if _, missing := os.Stat(keyPath); config.SecretKey == "" && missing != nil {
		_, err = fmt.Fprintf(out, "Before you start the server, copy its secret key to %s or set PARLEY_SECRET_KEY. "+
			"With another secret key, the API keys of model servers must be set again, and client tokens are invalid.\n", keyPath)
	}
	return err
}
