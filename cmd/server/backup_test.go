package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// acknowledgedMessage is a message that the server has acknowledged.
type acknowledgedMessage struct {
	conversation, content string
	sent
}

// loadGenerator sends messages to conversations and records those that were acknowledged.
type loadGenerator struct {
	mu       sync.Mutex
	messages []acknowledgedMessage
	senders  sync.WaitGroup
}

// start sends messages to each conversation until ctx is done. The Idempotency-Key is the number of the
// message in its conversation.
func (g *loadGenerator) start(ctx context.Context, c client, conversations []string) {
	for _, conversation := range conversations {
		g.senders.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				m := acknowledgedMessage{conversation: conversation, content: fmt.Sprintf("What is Parley? %d", i)}
				message, status, err := c.with("Idempotency-Key", fmt.Sprint(i)).send(conversation, m.content)
				if err != nil || status != http.StatusCreated {
					c.t.Errorf("%s in %s: %d, %v", m.content, conversation, status, err)
					return
				}
				m.sent = message
				g.mu.Lock()
				g.messages = append(g.messages, m)
				g.mu.Unlock()
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
}

// acknowledged returns the messages that were acknowledged so far.
func (g *loadGenerator) acknowledged() []acknowledgedMessage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.messages[:len(g.messages):len(g.messages)]
}

const (
	countAggregates = "SELECT count(*) FROM record_counts"
	backupAPIKey    = "sk-hushhushhushhush" // of the model server
)

func TestBackupContainsAllAcknowledgedMessages(t *testing.T) {
	t.Parallel()
	// given: a server under load, with aggregated records and a reply in progress
	upstream, authorizations := hangingModelServer(t)
	dir := newDir(t)
	server := serveWithAggregates(t, dir)
	api := server.client(server.key)
	api.call("POST", "/api/chatbots/", object{
		"name": "Clever", "slug": "clever", "engine": "openai",
		"model": object{"baseUrl": upstream, "name": "small", "apiKey": backupAPIKey},
	}, http.StatusCreated, nil)
	interrupted := api.stream("clever", "", "Hello?")
	<-authorizations
	conversations := make([]string, 6)
	for i := range conversations {
		conversations[i] = api.start()
	}
	ctx, stopLoad := context.WithCancel(t.Context())
	defer stopLoad()
	var load loadGenerator
	load.start(ctx, api, conversations)
	defer load.senders.Wait()
	eventually(t, "enough messages are acknowledged", func() bool { return len(load.acknowledged()) > 60 })

	// when: a backup is taken under load and restored elsewhere
	before := load.acknowledged()
	path := backUpUnderLoad(t, dir, &load)
	stopLoad()
	load.senders.Wait()
	server.kill()
	elsewhere := newDir(t)
	restoreBackup(t, dir, elsewhere, path)
	restored := serving(t, elsewhere)
	restored.secrets = append(restored.secrets, backupAPIKey)
	c := restored.client(server.key)

	// then: it has every message that was acknowledged before the backup, and completes all runs
	checkRestoredMessages(t, restored, c, append(conversations, interrupted.conversation), before)
	if replies := c.messages(interrupted.conversation); len(replies) != 2 || replies[1].Content != "Good day" || c.run(interrupted.run).Attempt != 2 {
		t.Errorf("the interrupted reply is %+v, its run %+v", replies, c.run(interrupted.run))
	}
	if got := <-authorizations; got != "Bearer "+backupAPIKey {
		t.Errorf("the model server received the Authorization %q", got)
	}
	checkCounters(t, restored, c)

	// and: idempotency keys still replay their responses
	first := before[0]
	repeated, status, err := c.with("Idempotency-Key", "0").send(first.conversation, first.content)
	if err != nil || status != http.StatusCreated || repeated.ID != first.ID {
		t.Errorf("retry with the same key: %d, %+v, %v", status, repeated, err)
	}
	restored.stop()
}

// hangingModelServer starts a model server that never answers its first call. It returns its URL and the
// Authorization headers that it receives.
func hangingModelServer(t *testing.T) (baseURL string, authorizations <-chan string) {
	received := make(chan string, 4)
	var isCalled atomic.Bool
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a disconnected client only after it has read the body
		received <- r.Header.Get("Authorization")
		if !isCalled.Swap(true) {
			<-r.Context().Done() // until the calling server is killed
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}]}`)
	}))
	t.Cleanup(upstream.Close)
	return upstream.URL, received
}

// serveWithAggregates starts a server with records of an hour that is already aggregated.
func serveWithAggregates(t *testing.T, dir string) *process {
	t.Helper()
	server := serving(t, dir)
	api := server.client(server.key)
	for range 3 {
		api.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "What is Parley?"}}, http.StatusOK, nil)
	}
	if _, err := connect(t, server).Exec(t.Context(), "UPDATE records SET created_at = created_at - interval '5 hours', asked_at = asked_at - interval '5 hours'"); err != nil {
		t.Fatal(err)
	}
	server.stop()
	server = serving(t, dir)
	server.secrets = append(server.secrets, backupAPIKey)
	if server.client("").status("/readyz") != http.StatusOK {
		t.Error("the server is not ready")
	}
	conn := connect(t, server)
	eventually(t, "the hour is aggregated", func() bool { return number(t, conn, countAggregates) > 0 })
	return server
}

// backUpUnderLoad takes a backup, checks that the load continues, and returns the path of the backup.
func backUpUnderLoad(t *testing.T, dir string, load *loadGenerator) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "parley.backup")
	stdout, stderr, code := runCommand(t, dir, nil, "backup", path)
	if code != 0 || !strings.Contains(stdout, filepath.Join(dir, secretKeyFile)) {
		t.Fatalf("backup: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	after := len(load.acknowledged())
	eventually(t, "the load continues", func() bool { return len(load.acknowledged()) > after+20 })
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode of the backup is not 0600: %v, %v", info, err)
	}
	_, stderr, code = runCommand(t, dir, nil, "backup", path)
	mustFail(t, stderr, code, path, "not overwritten")
	return path
}

// restoreBackup restores a backup with its secret key. A damaged backup, and a database that is not empty, are refused.
func restoreBackup(t *testing.T, from, to, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, content[:len(content)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := runCommand(t, to, nil, "restore", damaged); code != 1 || !strings.Contains(stderr, "pg_restore") {
		t.Errorf("restore of a damaged backup: exit code %d, stderr %q", code, stderr)
	}
	stdout, stderr, code := runCommand(t, to, nil, "restore", path)
	if code != 0 || !strings.Contains(stdout, filepath.Join(to, secretKeyFile)) {
		t.Fatalf("restore: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if _, stderr, code := runCommand(t, to, nil, "restore", path); code != 1 || !strings.Contains(stderr, "not empty") {
		t.Errorf("second restore: exit code %d, stderr %q", code, stderr)
	}
	key, err := os.ReadFile(filepath.Join(from, secretKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, secretKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkRestoredMessages waits for the end of all runs and checks that every acknowledged message is stored, once and with
// its seq, and that no completed run lacks its reply.
func checkRestoredMessages(t *testing.T, restored *process, c client, conversations []string, acknowledged []acknowledgedMessage) {
	t.Helper()
	conn := connect(t, restored)
	within(t, time.Minute, "all runs have ended", func() bool {
		return number(t, conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	stored := map[string]message{}
	for _, conversation := range conversations {
		for i, m := range c.messages(conversation) {
			if m.Seq != int64(i+1) {
				t.Fatalf("message %d of %s: seq %d", i+1, conversation, m.Seq)
			}
			stored[m.ID] = m
		}
	}
	for _, want := range acknowledged {
		if found := stored[want.ID]; found.Content != want.content || found.Seq != want.Seq || found.CreatedAt != want.Timestamp || found.RunID != want.RunID {
			t.Errorf("acknowledged %+v, restored %+v", want, found)
		}
	}
	if n := number(t, conn, "SELECT count(*) FROM runs r WHERE state = 'completed' AND NOT EXISTS (SELECT FROM message_history m WHERE m.organization_id = r.organization_id AND m.id = r.reply_id)"); n != 0 {
		t.Errorf("%d completed runs have no reply", n)
	}
	t.Logf("%d messages acknowledged before the backup, %d restored", len(acknowledged), len(stored))
}

// checkCounters checks that the totals that the API reports match the stored rows.
func checkCounters(t *testing.T, restored *process, c client) {
	t.Helper()
	conn := connect(t, restored)
	var listed struct{ Total int }
	c.call("GET", "/api/conversations?limit=1", nil, http.StatusOK, &listed)
	if want := number(t, conn, "SELECT count(*) FROM sessions WHERE status = 'active' AND (last_seq > 0 OR NOT is_implied)"); listed.Total != want {
		t.Errorf("%d conversations are listed, want %d", listed.Total, want)
	}
	var inboxes struct {
		Results []struct{ UnreadConversationsCount int }
	}
	c.call("GET", "/api/inboxes/", nil, http.StatusOK, &inboxes)
	unread := 0
	for _, inbox := range inboxes.Results {
		unread += inbox.UnreadConversationsCount
	}
	if want := number(t, conn, "SELECT count(*) FROM sessions WHERE staff_unread > 0"); unread != want || want == 0 {
		t.Errorf("%d conversations are unread, want %d", unread, want)
	}
	days := "?startDate=" + time.Now().Add(-48*time.Hour).UTC().Format(time.DateOnly) + "&endDate=" + time.Now().Add(48*time.Hour).UTC().Format(time.DateOnly)
	var records struct{ Count int }
	c.call("GET", "/api/chatbots/parley/records/"+days, nil, http.StatusOK, &records)
	want := number(t, conn, "SELECT count(*) FROM records JOIN bots ON bots.id = records.bot_id WHERE slug = 'parley'")
	if records.Count != want || number(t, conn, countAggregates) == 0 {
		t.Errorf("%d records are counted, want %d", records.Count, want)
	}
	_, exported, err := c.try("GET", "/api/chatbots/parley/records/export/"+days+"&format=jsonl", nil)
	if lines := strings.Count(string(exported), "\n"); err != nil || lines != want {
		t.Errorf("%d records are exported, want %d: %v", lines, want, err)
	}
}

func TestBackupWithoutDatabaseFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "data")
	_, stderr, code := runCommand(t, dir, nil, "backup", filepath.Join(t.TempDir(), "parley.backup"))
	mustFail(t, stderr, code, dir, "no database")
	if exists(dir) {
		t.Error("the failed command created a data directory")
	}
}

func TestExternalDatabaseIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	from := newDatabase(t)
	conn, err := pgx.Connect(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE another"); err != nil {
		t.Fatal(err)
	}
	to := strings.Replace(from, "/postgres?", "/another?", 1)
	server := serving(t, newDir(t), "DATABASE_URL="+from)
	conversation := server.client(server.key).start()
	path := filepath.Join(t.TempDir(), "parley.backup")
	dir := newDir(t)
	if stdout, stderr, code := runCommand(t, dir, []string{"DATABASE_URL=" + from}, "backup", path); code != 0 || !strings.Contains(stdout, "PARLEY_SECRET_KEY") {
		t.Fatalf("backup: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if stdout, stderr, code := runCommand(t, dir, []string{"DATABASE_URL=" + to}, "restore", path); code != 0 {
		t.Fatalf("restore: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	restored := serving(t, dir, "DATABASE_URL="+to)
	restored.client(server.key).call("GET", "/api/conversations/"+conversation+"/history", nil, http.StatusOK, nil)
	restored.stop()
	server.stop()
}
