package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/internal/dbtest"
	sealing "parley/internal/secret"
	"parley/internal/shortcuts"
)

// pair is two servers that must answer alike: one takes every shortcut, the other one none.
type pair struct {
	t           *testing.T
	fast, plain *server
	// ignore turns what may differ in a text into what may not.
	ignore func(string) string
	asked  int
}

// changing are the headers that say when was asked, and how the body is framed, not what there is.
var changing = []string{"Date", "Ratelimit", "Retry-After", "Content-Length"}

// lastUse is when a key was used last, which is noted once a minute.
var lastUse = regexp.MustCompile(`"lastUsedAt":("[^"]*"|null)`)

// inSeconds are how long somebody must wait.
var inSeconds = regexp.MustCompile(`in \d+ seconds|"retry_after":\d+`)

// ask asks both the same, at the same time, and fails the test unless they answer the same: the status, the headers and each byte.
func (p *pair) ask(as caller, method, target string, body any, options ...option) answer {
	p.t.Helper()
	p.asked++
	options = append([]option{
		with("Authorization", "Api-Key "+as.key), with("X-Request-Id", fmt.Sprint("compared-", p.asked)),
		func(request *http.Request) { request.Host = "parley.example.com" },
	}, options...)
	var fast, plain answer
	var failed [2]error
	var both sync.WaitGroup
	both.Go(func() { fast, failed[0] = p.fast.try(method, target, body, options...) })
	both.Go(func() { plain, failed[1] = p.plain.try(method, target, body, options...) })
	both.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		p.t.Fatalf("%s %s: %v", method, target, err)
	}
	p.compare(as.user, fast, plain)
	return fast
}

func (p *pair) compare(who string, fast, plain answer) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.FailNow() // the others would most likely say the same
		}
	}()
	if fast.status != plain.status {
		p.t.Errorf("%s: %s: %d with shortcuts, %d without\n%.300s\n%.300s", who, fast.request, fast.status, plain.status, fast.body, plain.body)
		return
	}
	for _, header := range []http.Header{fast.header, plain.header} {
		for _, name := range changing {
			header.Del(name)
		}
	}
	if one, other := p.ignore(fmt.Sprint(fast.header)), p.ignore(fmt.Sprint(plain.header)); one != other {
		p.t.Errorf("%s: %s: the headers are\n%s with shortcuts, and without\n%s", who, fast.request, one, other)
	}
	if bytes.Equal(fast.body, plain.body) {
		return
	}
	if one, other := p.ignore(string(fast.body)), p.ignore(string(plain.body)); one != other {
		p.t.Errorf("%s: %s: %s", who, fast.request, difference(one, other))
	}
}

// difference shows where two answers begin to differ.
func difference(fast, plain string) string {
	at := 0
	for at < min(len(fast), len(plain)) && fast[at] == plain[at] {
		at++
	}
	from := max(0, at-100)
	return fmt.Sprintf("%d bytes with shortcuts, %d without; they differ at %d:\n%q\n%q",
		len(fast), len(plain), at, fast[from:min(at+100, len(fast))], plain[from:min(at+100, len(plain))])
}

// unlimited are limits that there are not: what is left of one depends on when it is asked.
var unlimited = map[string]int{"messages": 0, "history": 0, "list": 0}

// serveBoth serves one database twice.
func serveBoth(t *testing.T, limits map[string]int) *pair {
	t.Helper()
	all, none := shortcuts.All(), shortcuts.Set{}
	wanted := settings{database: dbtest.URL(t), key: sealing.NewKey(), shortcuts: &all, limits: limits}
	p := &pair{t: t, fast: serveWith(t, wanted), ignore: func(text string) string {
		return lastUse.ReplaceAllString(inSeconds.ReplaceAllString(text, "soon"), "")
	}}
	wanted.shortcuts = &none
	p.plain = serveWith(t, wanted)
	return p
}

// Whatever is asked of the same database, by whomever, is answered the same with all shortcuts and with none.
func TestShortcutsChangeNoAnswer(t *testing.T) {
	t.Parallel()
	p := serveBoth(t, unlimited)
	w := p.fast.hostileWorld()
	random := rand.New(rand.NewPCG(1, 2))
	gets := map[string]int{}
	for _, op := range operations {
		if op.method != http.MethodGet {
			continue
		}
		gets[op.id] = 0
		for i, who := range w.callers {
			targets := []string{}
			for j, all := range w.things {
				chosen := 2
				if i < 2 && j < 2 { // who may see most, and what there is
					chosen = 8
					targets = append(targets, w.each(op, all)...)
				}
				targets = append(targets, op.target(all, ""))
				for range chosen {
					targets = append(targets, w.some(op, all, random))
				}
			}
			gets[op.id] += p.walk(op, who, targets)
		}
		if gets[op.id] == 0 {
			t.Errorf("nobody got anything of %s", op.id)
		}
	}
	t.Logf("%d questions were answered alike; with success: %v", p.asked, gets)
}

// each is an operation with each value of each parameter.
func (w *hostileWorld) each(op operation, all things) []string {
	var targets []string
	for _, parameter := range op.in("query") {
		values, ok := w.queries[parameter.Name]
		if !ok {
			panic(fmt.Sprintf("%s: what is asked for with %s? teach hostileWorld", op.id, parameter.Name))
		}
		for _, value := range values {
			targets = append(targets, op.target(all, parameter.Name+"="+url.QueryEscape(value)))
		}
	}
	return targets
}

// some is an operation with some parameters, of values that are good more often than not.
func (w *hostileWorld) some(op operation, all things, random *rand.Rand) string {
	var query []string
	for _, parameter := range op.in("query") {
		if values := w.queries[parameter.Name]; random.IntN(2) == 0 {
			query = append(query, parameter.Name+"="+url.QueryEscape(values[min(random.IntN(len(values)), random.IntN(len(values)))]))
		}
	}
	return op.target(all, strings.Join(query, "&"))
}

// walk asks for each of the targets, and for the pages that the answers lead to, both ways.
func (p *pair) walk(op operation, who caller, targets []string) (successes int) {
	p.t.Helper()
	asked := map[string]bool{}
	for n := 0; len(targets) > 0 && n < 400; n++ {
		target := targets[0]
		if targets = targets[1:]; asked[target] {
			continue
		}
		asked[target] = true
		var options []option
		if op.id == "connect" {
			options = append(options, upgrade)
		}
		got := p.ask(who, op.method, target, nil, options...)
		if got.status < 300 {
			successes++
		}
		var page struct{ Next, Previous any }
		if got.status != http.StatusOK || !bytes.HasPrefix(got.body, []byte("{")) || json.Unmarshal(got.body, &page) != nil {
			continue
		}
		for _, link := range []any{page.Next, page.Previous} {
			if link, ok := link.(string); ok && len(asked) < 45 {
				targets = append(targets, must(url.Parse(link)).RequestURI())
			}
		}
	}
	return successes
}

// Who asks too often is told so in the same words, after as many requests.
func TestShortcutsChangeNoLimit(t *testing.T) {
	t.Parallel()
	p := serveBoth(t, map[string]int{"messages": 3, "history": 2, "list": 2, "refusals": 2})
	w := p.fast.organization()
	alice := w.as("alice", "chat", "records:read")
	conversation := text(p.fast.call(http.MethodPost, "/api/conversations/start", object{}, with("Authorization", "Api-Key "+alice.key)).gives(http.StatusCreated), "conversation_id")
	all := nothing()
	all["conversations"] = conversation
	statuses := map[int]int{}
	for _, op := range operations {
		if op.method != http.MethodGet || op.id == "connect" {
			continue
		}
		for range 4 {
			statuses[p.ask(alice, op.method, op.target(all, ""), nil).status]++
		}
	}
	stranger := caller{user: "nobody", key: "none.0123456789abcdef"}
	for range 4 {
		statuses[p.ask(stranger, http.MethodGet, "/api/me/", nil).status]++
	}
	if found := slices.Sorted(maps.Keys(statuses)); !slices.Contains(found, 429) || !slices.Contains(found, 200) || !slices.Contains(found, 401) {
		t.Errorf("the statuses are %v", statuses)
	}
}
