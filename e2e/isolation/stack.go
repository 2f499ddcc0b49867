package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/e2e/harness"
	"parley/internal/localpg"
	"parley/internal/secret"
)

// stack is a server with its own PostgreSQL, and two organizations.
type stack struct {
	dir         string
	env         []string
	postgres    *localpg.Server
	server      *harness.Process
	model       *httptest.Server
	silent      atomic.Bool // the model does not answer
	loud, quiet account
}

// account is an organization's admin key and one of its conversations.
type account struct{ key, conversation string }

// newStack builds and starts everything. It must run in the root of the source tree. The caller stops
// the stack, also after an error.
func newStack(ctx context.Context, o options) (s *stack, err error) {
	s = &stack{}
	if s.dir, err = os.MkdirTemp("", "parley-isolation-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // PostgreSQL may run as another user
		return s, err
	}
	program := filepath.Join(s.dir, "parley")
	if output, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./cmd/server").CombinedOutput(); err != nil {
		return s, fmt.Errorf("build the server: %w\n%s", err, output)
	}
	bin, err := localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN"))
	if err != nil {
		return s, err
	}
	if s.postgres, err = localpg.Start(ctx, localpg.Config{Dir: filepath.Join(s.dir, "data"), BinDir: bin}); err != nil {
		return s, err
	}
	s.loud.key = "loud_admin." + rand.Text()
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + s.postgres.URL("postgres"), "PARLEY_SECRET_KEY=" + secret.NewKey(),
		"PARLEY_BOOTSTRAP_KEY=" + s.loud.key, "PARLEY_DATA_DIR=" + s.dir, "PARLEY_ADDR=127.0.0.1:0",
		// Both organizations have keys without limits. The visitors have the default one.
		"PARLEY_RATE_LIMITS=messages=60,history=0,list=0,reads=0,writes=0,reports=0", "PARLEY_RATE_CEILINGS=messages=0",
		"PARLEY_ANONYMOUS=on", "PARLEY_TRUSTED_PROXIES=127.0.0.1",
	}
	if s.server, err = harness.Start(ctx, s.dir, program, nil, s.env); err != nil {
		return s, err
	}
	create := exec.CommandContext(ctx, program, "org", "create", "Quiet")
	create.Env = s.env
	output, err := create.CombinedOutput()
	if err != nil {
		return s, fmt.Errorf("create an organization: %w\n%s", err, output)
	}
	if found := regexp.MustCompile(`admin key (\S+)`).FindSubmatch(output); found != nil {
		s.quiet.key = string(found[1])
	}
	s.silent.Store(true)
	s.model = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = discard(r.Body) // the server notices a disconnection only then
		if s.silent.Load() {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	return s, s.seed(ctx, o.records)
}

// seed creates FAQs, a silent chatbot, conversations and records.
func (s *stack) seed(ctx context.Context, records int) error {
	for _, a := range []*account{&s.loud, &s.quiet} {
		var created struct{ Key string }
		unlimited := map[string]any{"name": "unlimited", "user": "admin", "scopes": []string{"admin"}, "rateLimits": map[string]any{"messages": 1_000_000}}
		if err := s.post(ctx, a.key, "/api/api-keys/", unlimited, &created); err != nil {
			return err
		}
		a.key = created.Key
		faq := map[string]any{"question": "How do I reset my password?", "answer": "Use the link on the sign-in page."}
		var started struct {
			ID string `json:"conversation_id"`
		}
		err := errors.Join(
			s.post(ctx, a.key, "/api/chatbots/parley/faqs/", faq, &struct{}{}),
			s.post(ctx, a.key, "/api/conversations/start", map[string]any{}, &started),
		)
		if err != nil {
			return err
		}
		a.conversation = started.ID
	}
	err := s.post(ctx, s.loud.key, "/api/chatbots/", map[string]any{
		"name": "Silent", "slug": "silent", "engine": "openai", "model": map[string]any{"name": "m", "baseUrl": s.model.URL},
	}, &struct{}{})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.postgres.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, reply_time, asked_at, created_at)
		SELECT organization_id, gen_random_uuid(), bot_id, id, 'completed', 'Follow', 'Question ' || md5(n::text), repeat('Answer ' || md5(n::text) || ' ', 8), 1,
		       now() - n * interval '20 seconds' - interval '1 second', now() - n * interval '20 seconds'
		FROM sessions, generate_series(1, $2::integer) n WHERE id = $1`, s.loud.conversation, records)
	if err != nil {
		return fmt.Errorf("insert records: %w", err)
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE records")
	return err
}

func (s *stack) post(ctx context.Context, key, path string, body, result any) error {
	return harness.Call(ctx, http.MethodPost, s.server.Base+path, key, body, result)
}

func (s *stack) stop() error {
	var errs []error
	s.silent.Store(false)
	if s.model != nil {
		s.model.CloseClientConnections()
	}
	if s.server != nil {
		errs = append(errs, s.server.Stop())
	}
	if s.model != nil {
		errs = append(errs, s.model.Config.Close())
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(context.Background())) // also after Ctrl-C
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// figures are what the quiet organization saw.
type figures struct {
	answers, sends []time.Duration
	refused        int
}

// counts are what the loud organization did.
type counts struct{ done, refused atomic.Int64 }

// measureBeside measures the quiet organization while a load runs. The load ends before it returns.
func (s *stack) measureBeside(ctx context.Context, l load) (figures, *counts, error) {
	counted := &counts{}
	during, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if l.run != nil {
		l.run(during, s, counted, &running)
		select {
		case <-time.After(2 * time.Second): // until the load has built up
		case <-ctx.Done():
		}
	}
	f, err := s.measure(ctx)
	return f, counted, err
}

// measurePeriod is how long the quiet organization is measured.
var measurePeriod = 8 * time.Second

func (s *stack) measure(ctx context.Context) (f figures, err error) {
	for end := time.Now().Add(measurePeriod); time.Now().Before(end); {
		for _, step := range []struct {
			path  string
			body  any
			times *[]time.Duration
		}{
			{"/api/chatbots/parley/completions/", map[string]any{"message": map[string]any{"content": "How do I reset my password?"}}, &f.answers},
			{"/api/conversations/" + s.quiet.conversation + "/messages", map[string]any{"content": "Thanks"}, &f.sends},
		} {
			began := time.Now()
			status, err := request(ctx, http.DefaultClient, http.MethodPost, s.server.Base+step.path, s.quiet.key, "application/json", encode(step.body))
			if err != nil {
				return f, err
			}
			*step.times = append(*step.times, time.Since(began))
			if status >= http.StatusBadRequest {
				f.refused++
			}
		}
		<-time.After(10 * time.Millisecond)
	}
	return f, nil
}

// request sends a request and reads the whole response.
func request(ctx context.Context, client *http.Client, method, url, key, kind string, body []byte) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", kind)
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = discard(response.Body)
	return response.StatusCode, err
}
