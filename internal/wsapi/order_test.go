package wsapi_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
)

// Messages that are sent concurrently over REST and sockets reach every watcher in the order in which they are stored.
func TestWatchersSeeAllMessagesInStoredOrder(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	id := alice.startWithoutReplies() // completions still have replies
	sockets := []*wsClient{alice.watch(id), alice.dial("stream=true&session_id=" + id), agent.watch(id)}
	const each = 10
	const last = 6 * each // five senders, and a reply to every completion

	var senders, watchers sync.WaitGroup
	received := make([][]message, len(sockets))
	for i, ws := range sockets {
		watchers.Go(func() {
			var err error
			// This client's messages have their content as client_message_id.
			if received[i], err = ws.readMessages(last, func(id string) string { return id }); err != nil {
				t.Errorf("socket %d: %v", i, err)
			}
		})
	}
	for name, send := range map[string]func(content string) error{
		"sendMessage": func(content string) error {
			return alice.tryPost("/api/conversations/"+id+"/messages", object{"content": content})
		},
		"createMessage": func(content string) error {
			return agent.tryPost("/api/messages/", object{"conversation": id, "content": content, "type": "outgoing"})
		},
		"createCompletion": func(content string) error {
			return alice.tryPost("/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": content}})
		},
		"socket 0": func(content string) error { return sockets[0].write(frameOf(content, "client_message_id", content)) },
		"socket 1": func(content string) error { return sockets[1].write(frameOf(content, "client_message_id", content)) },
	} {
		senders.Go(func() {
			for n := range each {
				if err := send(fmt.Sprintf("%s %d", name, n)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	senders.Wait()
	watchers.Wait()
	stored := o.storedMessages(id)
	if len(stored) != last {
		t.Errorf("%d messages are stored", len(stored))
	}
	for i, got := range received {
		if !slices.Equal(got, stored) {
			t.Errorf("socket %d received\n%v\nstored\n%v", i, got, stored)
		}
	}
}

// Clients that are disconnected at random and resume with ?after= miss no message and receive none twice.
func TestReconnectingClientsMissNothing(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const watchers, questions = 4, 30

	var all sync.WaitGroup
	seen := make([][]message, watchers)
	errs := make([]error, watchers)
	cuts := make([]int, watchers)
	for i := range watchers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			for after := int64(0); after < 2*questions; {
				ws, err := alice.tryDial(fmt.Sprintf("session_id=%s&after=%d", id, after))
				if err != nil {
					errs[i] = err
					return
				}
				some, err := ws.readMessages(min(after+1+random.Int64N(12), 2*questions), nil)
				seen[i] = append(seen[i], some...)
				if err != nil {
					errs[i] = err
					return
				}
				after = some[len(some)-1].seq
				cuts[i]++
				if random.IntN(2) == 0 {
					ws.conn.CloseNow()
				} else {
					_ = ws.conn.Close(websocket.StatusNormalClosure, "")
				}
			}
		})
	}
	for i := range questions {
		run := alice.postMessage(id, fmt.Sprintf("Question %d?", i))["run_id"].(string)
		if i%10 == 9 { // keeps the reply queue below its limit
			eventually(t, "the run is finished", func() bool {
				return alice.call("GET", "/api/runs/"+run+"/", nil).expect(200)["finishedAt"] != nil
			})
		}
	}
	all.Wait()
	stored := o.storedMessages(id)
	for i, got := range seen {
		if errs[i] != nil || !slices.Equal(got, stored) || cuts[i] < 3 {
			t.Errorf("watcher %d: %v, %d connections; received\n%v\nstored\n%v", i, errs[i], cuts[i], got, stored)
		}
	}
}

// A long conversation is replayed from any seq.
func TestReplayStartsAfterCursor(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	const count = 450 // more than two pages
	must(o.sql.Exec(t.Context(), `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		SELECT s.organization_id, gen_random_uuid(), s.id, n, 'user', 'Message ' || n, s.created_at + n * interval '1 millisecond'
		FROM sessions s, generate_series(1, $2::int) n WHERE s.id = $1`, id, count))
	must(o.sql.Exec(t.Context(), `UPDATE sessions SET last_seq = $2, last_activity = created_at + interval '1 second' WHERE id = $1`, id, count))
	stored := o.storedMessages(id)
	for _, after := range []int64{0, 1, 199, 200, 250, 449} {
		ws := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, after))
		got, err := ws.readMessages(count, nil)
		if err != nil || !slices.Equal(got, stored[after:]) {
			t.Errorf("after=%d: %d messages, %v", after, len(got), err)
		}
	}
	latest := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, count))
	absent := alice.watch(id)
	ahead := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, count+1))
	ahead.expectError("invalid_request")
	alice.postMessage(id, "One more")
	for _, ws := range []*wsClient{latest, absent, ahead} {
		if got := ws.next(); got.Seq != count+1 || got.Content != "One more" {
			t.Errorf("the next message: %+v", got)
		}
	}
}

// A message with a client_message_id is stored once, however often and over however many sockets it is sent.
func TestSendIsIdempotent(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	first := alice.dial("")
	id := first.connected.SessionID
	want := first.deliver("Hello", "client_message_id", "c-1")
	first.awaitReply()
	if got := first.deliver("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != want.Seq || got.ClientMessageID != "c-1" {
		t.Errorf("the same socket: %+v, want %+v", got, want)
	}
	first.conn.CloseNow()
	again := alice.watch(id)
	if got := again.deliver("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != want.Seq {
		t.Errorf("after a reconnect: %+v, want %+v", got, want)
	}
	if got := again.deliver("Hello", "client_message_id", "c-2"); got.Seq != 3 {
		t.Errorf("another id: %+v", got)
	}
	// Another message under the same ID is refused and not stored, whichever part differs.
	attachment := []object{{"file": "https://files.example/a.png"}}
	full := again.deliver("Full", "client_message_id", "c-4", "metadata", object{"b": 1, "a": object{"x": 2}}, "attachments", attachment)
	again.awaitReply()
	for _, more := range [][]any{
		{"Other", "client_message_id", "c-1"},
		{"Hello", "client_message_id", "c-1", "metadata", object{}},
		{"Hello", "client_message_id", "c-1", "attachments", attachment},
		{"Full", "client_message_id", "c-4", "metadata", object{"b": 1, "a": object{"x": 3}}, "attachments", attachment},
		{"Full", "client_message_id", "c-4", "metadata", object{"b": 1, "a": object{"x": 2}}},
	} {
		again.sendMessage(more[0].(string), more[1:]...)
		if got := again.expectError("unprocessable"); got.ClientMessageID != more[2] {
			t.Errorf("%v: %+v", more, got)
		}
	}
	// Messages with equal JSON are the same message.
	again.sendRaw(`{"type":"message","attachments":[{"file":"https://files.example/a.png"}],"metadata":{"a":{"x":2},"b":1},"content":"Full","client_message_id":"c-4"}`)
	if got := again.awaitStatus("delivered"); got.MessageID != full.MessageID || got.Seq != full.Seq {
		t.Errorf("the same in another order: %+v", got)
	}
	if stored := len(o.storedMessages(id)); stored != 6 {
		t.Errorf("%d messages are stored", stored)
	}
	elsewhere := alice.dial("")
	if got := elsewhere.deliver("Hello", "client_message_id", "c-1"); got.MessageID == want.MessageID || got.Seq != 1 {
		t.Errorf("another conversation: %+v", got)
	}

	// Concurrent sends over several sockets store one message.
	id = alice.startWithoutReplies()
	sockets := []*wsClient{alice.watch(id), alice.watch(id), alice.watch(id), alice.watch(id)}
	var all sync.WaitGroup
	for _, ws := range sockets {
		all.Go(func() {
			if err := errors.Join(ws.write(frameOf("Once", "client_message_id", "c-3")), ws.write(frameOf("Once", "client_message_id", "c-3"))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	stored := ""
	for _, ws := range sockets {
		for range 2 {
			got := ws.awaitStatus("delivered")
			if stored == "" {
				stored = got.MessageID
			}
			if got.MessageID != stored || got.Seq != 1 {
				t.Errorf("%+v, want %s", got, stored)
			}
		}
	}
	if lines := o.storedMessages(id); len(lines) != 1 {
		t.Errorf("stored: %v", lines)
	}
}

// Messages that another instance commits reach the sockets within seconds, even without Redis.
func TestMessagesOfOtherInstancesReachSocket(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o := s.organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	ws := alice.watch(id)
	other := alice
	other.server = serve(t, settings{database: s.database})
	began := time.Now()
	other.postMessage(id, "From elsewhere")
	if got, err := ws.readMessages(2, nil); err != nil || !slices.Equal(got, o.storedMessages(id)) || time.Since(began) > 10*time.Second {
		t.Errorf("%v %v after %v", got, err, time.Since(began))
	}
	ws.deliver("From here")
	ws.awaitReply()
	resumed := other.dial("after=0&session_id=" + id)
	if got, err := resumed.readMessages(4, nil); err != nil || !slices.Equal(got, o.storedMessages(id)) {
		t.Errorf("%v %v", got, err)
	}
}

// Another instance has stored a message. When it is replayed, the message and all earlier ones are sent before its
// delivered status, so that seq has no gaps.
func TestReplayedMessageIsDeliveredInSeqOrder(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o := s.organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	other := alice
	other.server = serve(t, settings{database: s.database})
	resumed := other.watch(id)
	alice.postMessage(id, "Before")
	alice.watch(id).deliver("Hello", "client_message_id", "c-1")
	resumed.sendMessage("Hello", "client_message_id", "c-1")
	var seqs []int64
	for _, got := range resumed.readUntil(func(f frame) bool { return f.isStatus("delivered") }) {
		seqs = append(seqs, got.Seq)
	}
	resumed.deliver("After")
	if !slices.Equal(seqs, []int64{1, 2, 2}) {
		t.Errorf("received the seqs %v", seqs)
	}
}

// Each of many sockets receives every message once.
func TestManySocketsReceiveEachMessageOnce(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	sockets := make([]*wsClient, 200)
	for i := range sockets {
		sockets[i] = alice.watch(id)
	}
	for i := range 3 {
		alice.postMessage(id, fmt.Sprintf("Message %d", i))
	}
	stored := o.storedMessages(id)
	for i, ws := range sockets {
		// A duplicate would be read before the last message.
		if got, err := ws.readMessages(3, nil); err != nil || !slices.Equal(got, stored) {
			t.Errorf("socket %d: %v %v", i, got, err)
		}
	}
}

// A message is refused while the reply queue is full, and accepted when it is sent again later.
func TestFullReplyQueueRefusesMessages(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for _, c := range []caller{o.as("alice", auth.Chat), o.visitor()} {
		release := o.blockBots()
		ws := c.dial("")
		for i := range 21 { // one reply in progress, twenty queued
			if got := ws.deliver("Hello?"); got.Seq != int64(i+1) {
				t.Fatalf("%+v", got)
			}
		}
		ws.sendMessage("Hello?", "client_message_id", "c-1")
		if got := ws.expectError("unavailable"); got.RetryAfter == 0 || got.ClientMessageID != "c-1" {
			t.Errorf("%+v", got)
		}
		release()
		for range 21 {
			ws.awaitReply()
		}
		if got := ws.deliver("Hello?", "client_message_id", "c-1"); got.Seq != 43 {
			t.Errorf("%+v", got)
		}
		ws.awaitReply()
	}
}

// A deleted conversation refuses messages.
func TestDeletedConversationRefusesMessages(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	ws := alice.dial("")
	ws.deliver("Hello")
	ws.awaitReply()
	if got := alice.call("DELETE", "/api/conversations/"+ws.connected.SessionID+"/", nil); got.status != 204 {
		t.Fatal(got.status)
	}
	ws.sendMessage("Anybody?")
	ws.expectError("not_found")
}

// eventually waits until a condition is true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(testTimeout)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out waiting until %s", what)
		case <-ticker.C:
		}
	}
}

// Messages stored by version 0.1.0 have no hash. For these, the content is compared.
func TestRepeatOfMessageWithoutHashComparesContent(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	ws := o.as("alice", auth.Chat).dial("")
	want := ws.deliver("Hello", "client_message_id", "c-1")
	if _, err := o.sql.Exec(t.Context(), "UPDATE idempotency_keys SET request_hash = ''"); err != nil {
		t.Fatal(err)
	}
	if got := ws.deliver("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID {
		t.Errorf("the same content: %+v, want %+v", got, want)
	}
	ws.sendMessage("Other", "client_message_id", "c-1")
	ws.expectError("unprocessable")
}
