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

// said is a message that was acknowledged, and under which key it was sent.
type said struct {
	conversation, content string
	sent
}

// talkers send to conversations, each to its own, until ctx is done.
type talkers struct {
	mu    sync.Mutex
	said  []said
	crowd sync.WaitGroup
}

func (all *talkers) talk(ctx context.Context, c client, conversations []string) {
	for _, conversation := range conversations {
		all.crowd.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				one := said{conversation: conversation, content: fmt.Sprintf("What is Parley? %d", i)}
				message, status, err := c.with("Idempotency-Key", fmt.Sprint(i)).send(conversation, one.content)
				if err != nil || status != http.StatusCreated {
					c.t.Errorf("%s in %s: %d, %v", one.content, conversation, status, err)
					return
				}
				one.sent = message
				all.mu.Lock()
				all.said = append(all.said, one)
				all.mu.Unlock()
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
}

// soFar is what was acknowledged so far.
func (all *talkers) soFar() []said {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.said[:len(all.said):len(all.said)]
}

func TestABackupHasAllThatWasAcknowledgedBefore(t *testing.T) {
	t.Parallel()
	const apiKey = "sk-hushhushhushhush"
	authorizations := make(chan string, 4)
	var isAsked atomic.Bool
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else its end would not be seen
		authorizations <- r.Header.Get("Authorization")
		if !isAsked.Swap(true) {
			<-r.Context().Done() // who asked first is gone
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}]}`)
	}))
	defer upstream.Close()

	// given a server with records of an hour that is counted
	dir := newDir(t)
	server := serving(t, dir)
	asked := server.client(server.key)
	for range 3 {
		asked.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "What is Parley?"}}, http.StatusOK, nil)
	}
	conn := connect(t, server)
	if _, err := conn.Exec(t.Context(), "UPDATE records SET created_at = created_at - interval '5 hours', asked_at = asked_at - interval '5 hours'"); err != nil {
		t.Fatal(err)
	}
	server.stop()
	server = serving(t, dir)
	server.secrets = append(server.secrets, apiKey)
	asked = server.client(server.key)
	conn = connect(t, server)
	if server.client("").status("/readyz") != http.StatusOK {
		t.Error("it is not ready")
	}
	isCounted := "SELECT count(*) FROM record_counts"
	eventually(t, "the hour is counted", func() bool { return number(t, conn, isCounted) > 0 })

	// and a load, and a reply that is being written
	asked.call("POST", "/api/chatbots/", object{
		"name": "Clever", "slug": "clever", "engine": "openai",
		"model": object{"baseUrl": upstream.URL, "name": "small", "apiKey": apiKey},
	}, http.StatusCreated, nil)
	begun := asked.stream("clever", "", "Hello?")
	<-authorizations
	conversations := make([]string, 6)
	for i := range conversations {
		conversations[i] = asked.start()
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var load talkers
	load.talk(ctx, asked, conversations)
	defer load.crowd.Wait()
	eventually(t, "a load", func() bool { return len(load.soFar()) > 60 })

	// when a backup is taken in its midst
	before := load.soFar()
	path := filepath.Join(t.TempDir(), "parley.backup")
	stdout, stderr, code := runCommand(t, dir, nil, "backup", path)
	if code != 0 || !strings.Contains(stdout, filepath.Join(dir, secretKeyFile)) {
		t.Fatalf("the backup ended with %d and said %q, %q", code, stdout, stderr)
	}
	taken := len(load.soFar())
	eventually(t, "the load goes on", func() bool { return len(load.soFar()) > taken+20 })
	end()
	load.crowd.Wait()
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
	_, stderr, code = runCommand(t, dir, nil, "backup", path)
	mustFail(t, stderr, code, path, "not overwritten")
	server.kill() // nothing of it is needed any more

	// then it is restored elsewhere, and only there where nothing is
	elsewhere := newDir(t)
	damaged := filepath.Join(t.TempDir(), "damaged")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, whole[:len(whole)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := runCommand(t, elsewhere, nil, "restore", damaged); code != 1 || !strings.Contains(stderr, "pg_restore") {
		t.Errorf("what is damaged ended with %d and said %q", code, stderr)
	}
	stdout, stderr, code = runCommand(t, elsewhere, nil, "restore", path)
	if code != 0 || !strings.Contains(stdout, filepath.Join(elsewhere, secretKeyFile)) {
		t.Fatalf("the restore ended with %d and said %q, %q", code, stdout, stderr)
	}
	if _, stderr, code := runCommand(t, elsewhere, nil, "restore", path); code != 1 || !strings.Contains(stderr, "not empty") {
		t.Errorf("a second restore ended with %d and said %q", code, stderr)
	}
	key, err := os.ReadFile(filepath.Join(dir, secretKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, secretKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}

	// and a server that starts there has all that was acknowledged before, once and in its place
	restored := serving(t, elsewhere)
	restored.secrets = append(restored.secrets, apiKey)
	c := restored.client(server.key)
	conn = connect(t, restored)
	within(t, time.Minute, "the end of all runs", func() bool {
		return number(t, conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	stored := map[string]message{}
	for _, conversation := range append(conversations, begun.conversation) {
		for i, one := range c.messages(conversation) {
			if one.Seq != int64(i+1) {
				t.Fatalf("message %d of %s has the seq %d", i+1, conversation, one.Seq)
			}
			stored[one.ID] = one
		}
	}
	for _, one := range before {
		if found := stored[one.ID]; found.Content != one.content || found.Seq != one.Seq || found.CreatedAt != one.Timestamp || found.RunID != one.RunID {
			t.Errorf("acknowledged was %+v, restored is %+v", one, found)
		}
	}
	if n := number(t, conn, "SELECT count(*) FROM runs r WHERE state = 'completed' AND NOT EXISTS (SELECT FROM message_history m WHERE m.organization_id = r.organization_id AND m.id = r.reply_id)"); n != 0 {
		t.Errorf("%d runs have no reply", n)
	}
	if answers := c.messages(begun.conversation); len(answers) != 2 || answers[1].Content != "Good day" || c.run(begun.run).Attempt != 2 {
		t.Errorf("the reply that was being written is %+v, its run %+v", answers, c.run(begun.run))
	}
	if got := <-authorizations; got != "Bearer "+apiKey {
		t.Errorf("the model server is asked with %q", got)
	}
	t.Logf("%d acknowledged before the backup, %d messages restored, %d bytes", len(before), len(stored), len(whole))

	// its sums are those of what is there
	var listed struct{ Total int }
	c.call("GET", "/api/conversations?limit=1", nil, http.StatusOK, &listed)
	if want := number(t, conn, "SELECT count(*) FROM sessions WHERE status = 'active' AND (last_seq > 0 OR NOT is_implied)"); listed.Total != want {
		t.Errorf("%d conversations are listed of %d", listed.Total, want)
	}
	var inboxes struct {
		Results []struct{ UnreadConversationsCount int }
	}
	c.call("GET", "/api/inboxes/", nil, http.StatusOK, &inboxes)
	unread := 0
	for _, one := range inboxes.Results {
		unread += one.UnreadConversationsCount
	}
	if want := number(t, conn, "SELECT count(*) FROM sessions WHERE staff_unread > 0"); unread != want || want == 0 {
		t.Errorf("%d conversations are told to be unread of %d", unread, want)
	}
	days := "?startDate=" + time.Now().Add(-48*time.Hour).UTC().Format(time.DateOnly) + "&endDate=" + time.Now().Add(48*time.Hour).UTC().Format(time.DateOnly)
	var records struct{ Count int }
	c.call("GET", "/api/chatbots/parley/records/"+days, nil, http.StatusOK, &records)
	want := number(t, conn, "SELECT count(*) FROM records JOIN bots ON bots.id = records.bot_id WHERE slug = 'parley'")
	if records.Count != want || number(t, conn, isCounted) == 0 {
		t.Errorf("%d records are counted of %d", records.Count, want)
	}
	_, exported, err := c.try("GET", "/api/chatbots/parley/records/export/"+days+"&format=jsonl", nil)
	if lines := strings.Count(string(exported), "\n"); err != nil || lines != want {
		t.Errorf("%d records are exported of %d: %v", lines, want, err)
	}

	// and what was sent under a key is known to have been
	again := before[0]
	repeated, status, err := c.with("Idempotency-Key", "0").send(again.conversation, again.content)
	if err != nil || status != http.StatusCreated || repeated.ID != again.ID {
		t.Errorf("sent again it is %d, %+v, %v", status, repeated, err)
	}
	restored.stop()
}

func TestThereIsNoBackupOfNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "data")
	_, stderr, code := runCommand(t, dir, nil, "backup", filepath.Join(t.TempDir(), "parley.backup"))
	mustFail(t, stderr, code, dir, "no database")
	if exists(dir) {
		t.Error("something was started")
	}
}

func TestADatabaseOfOnesOwnIsBackedUpTooAndRestoredIntoAnother(t *testing.T) {
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
		t.Fatalf("the backup ended with %d and said %q, %q", code, stdout, stderr)
	}
	if stdout, stderr, code := runCommand(t, dir, []string{"DATABASE_URL=" + to}, "restore", path); code != 0 {
		t.Fatalf("the restore ended with %d and said %q, %q", code, stdout, stderr)
	}
	restored := serving(t, dir, "DATABASE_URL="+to)
	restored.client(server.key).call("GET", "/api/conversations/"+conversation+"/history", nil, http.StatusOK, nil)
	restored.stop()
	server.stop()
}
