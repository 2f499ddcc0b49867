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

// Whichever way messages come, at once, every watcher sees all of them in the order in
// which they are stored.
func TestEveryWatcherSeesEveryMessageInOneOrder(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	id := alice.quiet() // completions are answered all the same
	links := []*link{alice.watch(id), alice.dial("stream=true&session_id=" + id), agent.watch(id)}
	const each = 10
	const last = 6 * each // five senders, and a reply to every completion

	var all sync.WaitGroup
	failures := make(chan error, 100)
	ways := map[string]func(content string) (answer, error){
		"sendMessage": func(content string) (answer, error) {
			return alice.try("POST", "/api/conversations/"+id+"/messages", object{"content": content})
		},
		"createMessage": func(content string) (answer, error) {
			return agent.try("POST", "/api/messages/", object{"conversation": id, "content": content, "type": "outgoing"})
		},
		"createCompletion": func(content string) (answer, error) {
			return alice.try("POST", "/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": content}})
		},
	}
	for name, way := range ways {
		all.Go(func() {
			for i := range each {
				if got, err := way(fmt.Sprintf("%s %d", name, i)); err != nil || got.status >= 300 {
					failures <- fmt.Errorf("%s: %d %w %s", name, got.status, err, got.body)
				}
			}
		})
	}
	seen := make([][]line, len(links))
	for i, l := range links {
		own := fmt.Sprintf("socket %d ", i)
		all.Go(func() {
			var err error
			// What was delivered is known by the client's own id.
			if seen[i], err = l.lines(last, func(id string) string { return id }); err != nil {
				failures <- fmt.Errorf("%s: %w", own, err)
			}
		})
		if i == 2 {
			continue // the agent's only watches
		}
		all.Go(func() {
			for n := range each {
				content := own + fmt.Sprint(n)
				if err := l.write(frameOf(content, "client_message_id", content)); err != nil {
					failures <- err
				}
			}
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	stored := o.stored(id)
	if len(stored) != last {
		t.Errorf("%d messages are stored", len(stored))
	}
	for i, got := range seen {
		if !slices.Equal(got, stored) {
			t.Errorf("socket %d saw\n%v\nstored is\n%v", i, got, stored)
		}
	}
}

// A link that is cut anywhere and resumed with ?after= misses nothing and repeats
// nothing.
func TestLinksThatAreCutMissNothing(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.start()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	const watchers, questions = 4, 30

	var all sync.WaitGroup
	seen := make([][]line, watchers)
	errs := make([]error, watchers)
	cuts := make([]int, watchers)
	for i := range watchers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			for after := int64(0); after < 2*questions; {
				l, err := alice.tryDial(fmt.Sprintf("session_id=%s&after=%d", id, after))
				if err != nil {
					errs[i] = err
					return
				}
				some, err := l.lines(min(after+1+random.Int64N(12), 2*questions), nil)
				seen[i] = append(seen[i], some...)
				if err != nil {
					errs[i] = err
					return
				}
				after = some[len(some)-1].seq
				cuts[i]++
				if random.IntN(2) == 0 {
					l.conn.CloseNow()
				} else {
					_ = l.conn.Close(websocket.StatusNormalClosure, "")
				}
			}
		})
	}
	for i := range questions {
		run := alice.say(id, fmt.Sprintf("Question %d?", i))["run_id"].(string)
		if i%10 == 9 { // so that the queue of questions is never full
			eventually(t, "the reply is there", func() bool {
				return alice.call("GET", "/api/runs/"+run+"/", nil).gives(200)["finishedAt"] != nil
			})
		}
	}
	all.Wait()
	stored := o.stored(id)
	for i, got := range seen {
		if errs[i] != nil || !slices.Equal(got, stored) || cuts[i] < 3 {
			t.Errorf("watcher %d: %v, %d links; it saw\n%v\nstored is\n%v", i, errs[i], cuts[i], got, stored)
		}
	}
}

// A long conversation is replayed from wherever the client has come to.
func TestAReplayBringsAllThatCameAfter(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	const count = 450 // more than two pages of the replay
	must(o.sql.Exec(t.Context(), `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		SELECT s.organization_id, gen_random_uuid(), s.id, n, 'user', 'Message ' || n, s.created_at + n * interval '1 millisecond'
		FROM sessions s, generate_series(1, $2::int) n WHERE s.id = $1`, id, count))
	must(o.sql.Exec(t.Context(), `UPDATE sessions SET last_seq = $2, last_activity = created_at + interval '1 second' WHERE id = $1`, id, count))
	stored := o.stored(id)
	for _, after := range []int64{0, 1, 199, 200, 250, 449} {
		l := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, after))
		got, err := l.lines(count, nil)
		if err != nil || !slices.Equal(got, stored[after:]) {
			t.Errorf("after=%d: %d messages, %v", after, len(got), err)
		}
	}
	latest := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, count))
	absent := alice.watch(id)
	ahead := alice.dial(fmt.Sprintf("session_id=%s&after=%d", id, count+1))
	ahead.refuses("invalid_request")
	alice.say(id, "One more")
	for _, l := range []*link{latest, absent, ahead} {
		if got := l.next(); got.Seq != count+1 || got.Content != "One more" {
			t.Errorf("the next one: %+v", got)
		}
	}
}

// A client's own id stores a message once, over however many sockets it is sent.
func TestAMessageThatIsSentAgainIsStoredOnce(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	first := alice.dial("")
	id := first.hi.SessionID
	want := first.delivers("Hello", "client_message_id", "c-1")
	first.awaitReply()
	if got := first.delivers("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != want.Seq || got.ClientMessageID != "c-1" {
		t.Errorf("the same socket: %+v, want %+v", got, want)
	}
	first.conn.CloseNow()
	again := alice.watch(id)
	if got := again.delivers("Hello", "client_message_id", "c-1"); got.MessageID != want.MessageID || got.Seq != want.Seq {
		t.Errorf("after a reconnect: %+v, want %+v", got, want)
	}
	if got := again.delivers("Hello", "client_message_id", "c-2"); got.Seq != 3 {
		t.Errorf("another id: %+v", got)
	}
	elsewhere := alice.dial("")
	if got := elsewhere.delivers("Hello", "client_message_id", "c-1"); got.MessageID == want.MessageID || got.Seq != 1 {
		t.Errorf("another conversation: %+v", got)
	}

	// At once, over several sockets: one of them stores it.
	id = alice.quiet()
	links := []*link{alice.watch(id), alice.watch(id), alice.watch(id), alice.watch(id)}
	var all sync.WaitGroup
	for _, l := range links {
		all.Go(func() {
			if err := errors.Join(l.write(frameOf("Once", "client_message_id", "c-3")), l.write(frameOf("Once", "client_message_id", "c-3"))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	stored := ""
	for _, l := range links {
		for range 2 {
			got := l.awaitStatus("delivered")
			if stored == "" {
				stored = got.MessageID
			}
			if got.MessageID != stored || got.Seq != 1 {
				t.Errorf("%+v, want %s", got, stored)
			}
		}
	}
	if lines := o.stored(id); len(lines) != 1 {
		t.Errorf("stored: %v", lines)
	}
}

// What another process commits reaches the sockets within seconds, though nothing tells
// this one.
func TestMessagesOfAnotherProcessReachTheSocket(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o := s.organization()
	alice := o.as("alice", auth.Chat)
	id := alice.start()
	l := alice.watch(id)
	other := alice
	other.server = serve(t, settings{database: s.database})
	began := time.Now()
	other.say(id, "From elsewhere")
	if got, err := l.lines(2, nil); err != nil || !slices.Equal(got, o.stored(id)) || time.Since(began) > 10*time.Second {
		t.Errorf("%v %v after %v", got, err, time.Since(began))
	}
	l.delivers("From here")
	l.awaitReply()
	there := other.dial("after=0&session_id=" + id)
	if got, err := there.lines(4, nil); err != nil || !slices.Equal(got, o.stored(id)) {
		t.Errorf("%v %v", got, err)
	}
}

// A message that another process has stored is told before it is said to be delivered: the
// client's last seq never passes what it has.
func TestWhatIsSentAgainElsewhereIsDeliveredInItsPlace(t *testing.T) {
	t.Parallel()
	s := serve(t, settings{})
	o := s.organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	other := alice
	other.server = serve(t, settings{database: s.database})
	there := other.watch(id)
	alice.say(id, "Before")
	alice.watch(id).delivers("Hello", "client_message_id", "c-1")
	there.say("Hello", "client_message_id", "c-1")
	var seqs []int64
	for _, got := range there.until(func(f frame) bool { return f.isStatus("delivered") }) {
		seqs = append(seqs, got.Seq)
	}
	there.delivers("After")
	if !slices.Equal(seqs, []int64{1, 2, 2}) {
		t.Errorf("it is told the seqs %v", seqs)
	}
}

// Each of many sockets gets a message once.
func TestManySocketsGetAMessageOnceEach(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	links := make([]*link, 200)
	for i := range links {
		links[i] = alice.watch(id)
	}
	for i := range 3 {
		alice.say(id, fmt.Sprintf("Message %d", i))
	}
	stored := o.stored(id)
	for i, l := range links {
		// The last one would come after a repeated one.
		if got, err := l.lines(3, nil); err != nil || !slices.Equal(got, stored) {
			t.Errorf("socket %d: %v %v", i, got, err)
		}
	}
}

// What cannot be taken now is refused, and may be tried again.
func TestAMessageIsRefusedWhileTooManyWait(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	for _, c := range []caller{o.as("alice", auth.Chat), o.visitor()} {
		release := o.holdBots()
		l := c.dial("")
		for i := range 21 { // one is being answered, twenty wait
			if got := l.delivers("Hello?"); got.Seq != int64(i+1) {
				t.Fatalf("%+v", got)
			}
		}
		l.say("Hello?", "client_message_id", "c-1")
		if got := l.refuses("unavailable"); got.RetryAfter == 0 || got.ClientMessageID != "c-1" {
			t.Errorf("%+v", got)
		}
		release()
		for range 21 {
			l.awaitReply()
		}
		if got := l.delivers("Hello?", "client_message_id", "c-1"); got.Seq != 43 {
			t.Errorf("%+v", got)
		}
		l.awaitReply()
	}
}

// A deleted conversation refuses what is said in it.
func TestADeletedConversationRefusesMessages(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	l := alice.dial("")
	l.delivers("Hello")
	l.awaitReply()
	if got := alice.call("DELETE", "/api/conversations/"+l.hi.SessionID+"/", nil); got.status != 204 {
		t.Fatal(got.status)
	}
	l.say("Anybody?")
	l.refuses("not_found")
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !isSo() {
		select {
		case <-deadline.C:
			t.Fatalf("it never came to be: %s", what)
		case <-look.C:
		}
	}
}
