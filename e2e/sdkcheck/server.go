package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// rateLimits let a scenario meet its 429 within seconds.
const rateLimits = "messages=200,history=200,list=12"

// server is the program, running.
type server struct {
	cmd   *exec.Cmd
	log   *os.File
	base  string
	admin string
}

// serve builds the program and starts it with a database of its own.
func serve(ctx context.Context, dir string) (*server, error) {
	program := filepath.Join(dir, "parley")
	if err := command(ctx, "", "go", "build", "-buildvcs=false", "-o", program, "./cmd/server"); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(program), log: log} //nolint:noctx // stop ends it
	data := filepath.Join(dir, "data")
	s.cmd.Env = append(os.Environ(), "PARLEY_ADDR=127.0.0.1:0", "PARLEY_DATA_DIR="+data, "DATABASE_URL=", "REDIS_URL=", "PARLEY_RATE_LIMITS="+rateLimits)
	s.cmd.Stderr = log
	said, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	for s.base == "" && lines.Scan() {
		if found := regexp.MustCompile(`ready at (http://\S+)`).FindStringSubmatch(lines.Text()); found != nil {
			s.base = found[1]
		}
	}
	if s.base == "" {
		return nil, errors.Join(errors.New("the server does not start"), s.stop())
	}
	go func() { _, _ = io.Copy(io.Discard, said) }() // ends with the server
	key, err := os.ReadFile(filepath.Join(data, "admin-key"))
	s.admin = strings.TrimSpace(string(key))
	return s, err
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	defer s.log.Close()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	return s.cmd.Wait()
}

// account is what a scenario is given: a chatbot, and a key of a user of its own.
type account struct{ base, bot, key string }

// invite makes an account of that name.
func (s *server) invite(ctx context.Context, name string) (account, error) {
	var made struct{ Key string }
	script := map[string]any{"rules": []any{map[string]any{"deltas": []string{"Good ", "day, ", "世界."}, "delayMs": 20}}}
	err := errors.Join(
		s.post(ctx, "/api/chatbots/", map[string]any{"name": name, "slug": name, "engine": "scripted", "script": script}, &struct{}{}),
		s.post(ctx, "/api/api-keys/", map[string]any{"name": name, "user": name, "scopes": []string{"chat", "records:read"}}, &made),
	)
	return account{s.base, name, made.Key}, err
}

func (s *server) post(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Api-Key "+s.admin)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s: %s", path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
