package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretKeyIsGeneratedOnceAndPrivate(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	path := filepath.Join(dir, secretKeyFile)
	server := serving(t, dir)
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key file is %v, %v", info, err)
	}
	if _, err := parseSecretKey(strings.TrimSpace(string(made))); err != nil {
		t.Errorf("the key file is not a key: %v", err)
	}
	server.secrets = append(server.secrets, strings.TrimSpace(string(made)))
	server.stop()
	again := serving(t, dir)
	if kept, err := os.ReadFile(path); err != nil || string(kept) != string(made) {
		t.Errorf("the next start has another key: %v", err)
	}
	again.stop()
}

func TestConfiguredSecretKeyIsNotStored(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server := serving(t, dir, "PARLEY_SECRET_KEY="+sharedSecretKey)
	if exists(filepath.Join(dir, secretKeyFile)) {
		t.Error("the configured key was stored")
	}
	server.stop()
}

func TestExternalDatabaseRequiresSecretKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "data")
	environment := []string{"DATABASE_URL=" + newDatabase(t), "PARLEY_SECRET_KEY="}
	stdout, stderr, code := runCommand(t, dir, environment)
	mustFail(t, stderr, code, "PARLEY_SECRET_KEY", "DATABASE_URL", "base64")
	if stdout != "" || exists(dir) {
		t.Errorf("the failed start created a data directory or printed %q", stdout)
	}
	// The subcommand org does not need the secret key.
	if _, stderr, code := runCommand(t, dir, environment, "org", "create", "First"); code != 0 {
		t.Errorf("org create: exit code %d: %s", code, stderr)
	}
}

func TestInvalidSecretKeyFileIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	path := filepath.Join(dir, secretKeyFile)
	if err := os.WriteFile(path, []byte("hushhush"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := runCommand(t, dir, nil)
	if code != 1 || !strings.Contains(stderr, "secret key "+path) || strings.Contains(stderr, "hushhush") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "hushhush" {
		t.Errorf("the file has %q, %v", kept, err)
	}
}
