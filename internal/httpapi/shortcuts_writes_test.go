package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/internal/auth"
	"parley/internal/shortcuts"
)

// madeUp is what a server makes up, and can be told apart by the order in which it comes up: ids and secrets.
var madeUp = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?:pk|pct|wst)_[\w.-]+|cursor=[\w-]+|"(?:next|previous)Cursor":"[\w-]+"|"[a-z]+-[0-9a-f]{6}"|"prefix":"\w+"`)

// moments are when something was and how long it took, which may be the same for two things or not.
var moments = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|"(?:\w*Time|\w*ToFirstToken|created|retry_after)":[\d.e-]+|in \d+ seconds|Content-Length:\[\d+\]`)

// story is what one of two servers was asked and has answered, with what it made up named by the order in which it came up.
type story struct {
	*server
	names   map[string]string
	answers []string
}

// plain replaces what was made up.
func (s *story) plain(text string) string {
	return madeUp.ReplaceAllStringFunc(moments.ReplaceAllString(strings.ReplaceAll(text, s.url, "<server>"), "<moment>"), func(found string) string {
		if s.names[found] == "" {
			s.names[found] = fmt.Sprintf("<%d>", len(s.names)+1)
		}
		return s.names[found]
	})
}

// tell adds an answer.
func (s *story) tell(got answer) {
	header := got.header.Clone()
	for _, name := range changing {
		header.Del(name)
	}
	s.answers = append(s.answers, s.plain(fmt.Sprintf("%s → %d %v\n%s", got.request, got.status, header, got.body)))
}

// told is a server with a database of its own, and what it answers to a scenario.
func told(t *testing.T, taken shortcuts.Set, scenario func(*story)) *story {
	t.Helper()
	s := &story{server: serveWith(t, settings{shortcuts: &taken, limits: unlimited}), names: map[string]string{}}
	scenario(s)
	return s
}

// changesNothing has a scenario played twice side by side, with all shortcuts and with none, and compares the answers.
func changesNothing(t *testing.T, scenario func(*story)) {
	t.Helper()
	var fast, plain *story
	isPlayed := t.Run("played", func(t *testing.T) {
		play := func(name string, taken shortcuts.Set, into **story) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				*into = told(t, taken, scenario)
			})
		}
		play("with shortcuts", shortcuts.All(), &fast)
		play("without", shortcuts.Set{}, &plain)
	})
	if !isPlayed {
		return
	}
	if len(fast.answers) != len(plain.answers) {
		t.Fatalf("there are %d answers with shortcuts, and %d without", len(fast.answers), len(plain.answers))
	}
	differ := 0
	for i, one := range fast.answers {
		if one != plain.answers[i] && differ < 10 {
			what, _, _ := strings.Cut(one, "\n")
			t.Errorf("%s: %s", what, difference(one, plain.answers[i]))
			differ++
		}
	}
	t.Logf("%d answers were compared", len(fast.answers))
}

// Each operation that changes something answers the same to whoever may and may not use it, with good bodies and bad
// ones, about what there is and what there is not; and so does all that can be read afterwards.
func TestShortcutsChangeNoEffect(t *testing.T) {
	t.Parallel()
	changesNothing(t, func(s *story) {
		o := s.organization()
		owner := o.as("owner", auth.Admin)
		callers := []caller{owner, o.as("chatter", auth.Chat), o.as("reader", auth.RecordsRead), s.organization().as("stranger", auth.Admin), {organization: o, user: "nobody", key: "none.0123456789abcdef"}}
		for _, op := range operations {
			if op.method == http.MethodGet {
				continue
			}
			all := owner.one()
			for _, known := range []things{nothing(), all} {
				for _, who := range slices.Backward(callers) {
					key := with("Idempotency-Key", fmt.Sprint(op.id, who.user, known["problems"]))
					body := unstreamed(op.anyBody(known))
					for range 2 { // and once more
						s.settle(op.send(who, op.target(known, ""), body, key))
					}
				}
			}
			if op.jsonBody() != nil {
				for _, bad := range []string{``, `{`, `[]`, `null`, `{"content":"\u0000"}`, `{"content":1,"message":2,"name":[],"operations":{}}`} {
					s.tell(owner.call(op.method, op.target(all, ""), bad))
				}
			}
			if op.method == http.MethodDelete {
				all = owner.one()
			}
			s.tellAll(owner, all)
		}
	})
}

// unstreamed has a completion answered as a whole: in how many pieces it comes is up to the moment.
func unstreamed(body any) any {
	if fields, ok := body.(object); ok {
		for _, name := range []string{"isStreaming", "stream"} {
			if _, isThere := fields[name]; isThere {
				fields[name] = false
			}
		}
	}
	return body
}

// settle tells an answer, and waits until nothing is being replied.
func (s *story) settle(got answer) {
	s.tell(got)
	eventually(s.t, "all is answered", func() bool {
		return query[int](s.server, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
}

// tellAll tells all that can be read.
func (s *story) tellAll(reader caller, all things) {
	for _, op := range operations {
		if op.method == http.MethodGet && op.id != "connect" && !strings.HasPrefix(op.id, "exportRecords") && !strings.HasPrefix(op.path, "/openapi") && op.id != "getDocs" {
			s.tell(reader.call(op.method, op.target(all, ""), nil))
		}
	}
}

// Many who send at once, into one conversation and into several, good messages and bad ones, are each answered as if
// they were alone, and what was accepted is there once, in a row without gaps.
func TestShortcutsChangeNothingForManyAtOnce(t *testing.T) {
	t.Parallel()
	changesNothing(t, func(s *story) {
		o := s.organization()
		alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
		conversations := []string{alice.start(), alice.start(), bob.start(), nothing()["conversations"], "none"}
		for i, owner := range []caller{alice, alice, bob} {
			owner.patch("/api/conversations/"+conversations[i]+"/", object{"autoReplyEnabled": false})
		}
		answers := make([]answer, 200)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				body := fmt.Sprintf(`{"content":%s,"metadata":%s}`, raw(fmt.Sprint(i, hostile[i%len(hostile)])), metadata[i%len(metadata)])
				key := fmt.Sprint(i)
				if i%20 == 0 { // one message, sent ten times
					key, body = "same", `{"content":"the same"}`
				}
				path := "/api/conversations/" + conversations[i%len(conversations)] + "/messages"
				var options []option
				if i%4 == 0 {
					options = append(options, with("Idempotency-Key", key))
				}
				var err error
				if answers[i], err = s.try(http.MethodPost, path, body, append(options, with("Authorization", "Api-Key "+alice.key))...); err != nil {
					s.t.Errorf("%s: %v", path, err)
				}
			})
		}
		all.Wait()
		replayed := 0
		for i, got := range answers {
			s.answers = append(s.answers, fmt.Sprintf("%d: %d %v", i, got.status, slices.Sorted(maps.Keys(got.json()))))
			if got.header.Get("Idempotency-Replayed") != "" {
				replayed++
			}
		}
		s.answers = append(s.answers, fmt.Sprint(replayed, " were repeats"))
		s.tell(alice.call(http.MethodPost, "/api/conversations/"+conversations[0]+"/messages", `{"content":"another"}`, with("Idempotency-Key", "same")))
		for i, reader := range []caller{alice, alice, bob} {
			var said []string
			for n, message := range reader.history(conversations[i]) {
				said = append(said, fmt.Sprintf("%s %v", text(message, "content"), message["metadata"]))
				if seq := number(message, "seq"); seq != n+1 {
					s.t.Errorf("message %d of %s has the seq %d", n+1, conversations[i], seq)
				}
			}
			slices.Sort(said)
			s.answers = append(s.answers, strings.Join(said, "\n"))
		}
	})
}
