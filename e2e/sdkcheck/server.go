package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"parley/e2e/harness"
)

// rateLimits are low, so that a scenario exceeds its limit within seconds.
const rateLimits = "messages=200,history=200,list=12"

// server is the running product.
type server struct {
	process *harness.Process
	admin   string // the administrator's key
}

// startServer builds the product and starts it with a database of its own.
func startServer(ctx context.Context, dir string) (*server, error) {
	program := filepath.Join(dir, "parley")
	if err := command(ctx, "", "go", "build", "-buildvcs=false", "-o", program, "./cmd/server"); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	env := append(os.Environ(), "PARLEY_ADDR=127.0.0.1:0", "PARLEY_DATA_DIR="+data, "DATABASE_URL=", "REDIS_URL=", "PARLEY_RATE_LIMITS="+rateLimits)
	process, err := harness.Start(ctx, dir, program, nil, env)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(data, "admin-key"))
	if err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return &server{process, strings.TrimSpace(string(key))}, nil
}

// account is what a scenario needs: a server, a chatbot, and a key of its own user.
type account struct{ base, bot, key string }

// createAccount creates a chatbot and a user with the given name.
func (s *server) createAccount(ctx context.Context, name string) (account, error) {
	var created struct{ Key string }
	script := map[string]any{"rules": []any{map[string]any{"deltas": []string{"Good ", "day, ", "世界."}, "delayMs": 20}}}
	post := func(path string, body, result any) error {
		return harness.Call(ctx, http.MethodPost, s.process.Base+path, s.admin, body, result)
	}
	err := errors.Join(
		post("/api/chatbots/", map[string]any{"name": name, "slug": name, "engine": "scripted", "script": script}, &struct{}{}),
		post("/api/api-keys/", map[string]any{"name": name, "user": name, "scopes": []string{"chat", "records:read"}}, &created),
	)
	return account{s.process.Base, name, created.Key}, err
}
