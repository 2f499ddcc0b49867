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

// mustHaveDatabase refuses to make a database in order to write down that it is empty.
func mustHaveDatabase(config config) error {
	if _, err := os.Lstat(filepath.Join(config.DataDir, "postgres")); config.DatabaseURL == "" && err != nil {
		return fmt.Errorf("there is no database in %s (PARLEY_DATA_DIR), and DATABASE_URL names none", config.DataDir)
	}
	return nil
}

// backUp writes all that the database holds to a new file for nobody else to read, while
// whoever uses it goes on.
func backUp(ctx context.Context, config config, address, path string, out io.Writer) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is a file %s already, which is not overwritten", path)
	}
	database := backup.Database{Address: address, BinDir: config.PostgresBin}
	if err := writeWhole(path, func(w io.Writer) error { return database.Dump(ctx, w) }); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	key := "PARLEY_SECRET_KEY"
	if config.SecretKey == "" {
		key = "the file " + filepath.Join(config.DataDir, secretKeyFile)
	}
	_, err := fmt.Fprintf(out, "backed up to %s\nIt does not hold the secret key: keep %s too, and elsewhere.\n", path, key)
	return err
}

// restore fills an empty database with what backUp has written.
func restore(ctx context.Context, config config, address, path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer file.Close()
	if err := (backup.Database{Address: address, BinDir: config.PostgresBin}).Restore(ctx, file); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = fmt.Fprintf(out, "restored from %s\n", path)
	kept := filepath.Join(config.DataDir, secretKeyFile)
	if _, missing := os.Stat(kept); config.SecretKey == "" && missing != nil {
		_, err = fmt.Fprintf(out, "Before the server starts, put the secret key that belongs to it into %s, or set PARLEY_SECRET_KEY: "+
			"under another one the API keys of model servers must be set anew, and client tokens end.\n", kept)
	}
	return err
}
