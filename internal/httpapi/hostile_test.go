package httpapi_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/auth"
)

var (
	hostileRequests = flag.Int("requests", 2000, "how many requests TestHostileRequests sends")
	hostileSeed     = flag.Uint64("seed", 0, "the seed of TestHostileRequests; 0: a new one")
	hostileRound    = flag.Int("round", -1, "the only round of TestHostileRequests that is played; -1: all")
)

// perRound is the number of requests per organization. A small number keeps the snapshots small.
const perRound = 250

// No request causes an internal error, a panic or a response that the document does not declare, be it valid, nearly
// valid or hostile. A refused request writes nothing, and no data of another organization is changed or exposed.
//
// `make hostile` sends 100,000 requests. A failure names its seed and round, which reproduce it, and the minimal set
// of mutations that still fails.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*hostileSeed, uint64(time.Now().UnixNano()))
	log := &logChecker{t: t}
	s := serveWith(t, settings{log: log, origins: []string{"https://shop.example"}})
	victim := s.organization()
	game := &hostility{server: s, seed: seed, victim: victim, foreign: victim.as("victim", auth.Admin).one()}
	for _, text := range []string{"message_history.content", "records.output_message", "contacts.name", "bots.name", "faqs.answer", "web_chats.name", "inboxes.name", "users.name", "sessions.title", "api_keys.name"} {
		table, column, _ := strings.Cut(text, ".")
		s.exec("UPDATE "+table+" SET "+column+" = $1 || row_number FROM (SELECT id AS at, row_number() OVER () FROM "+table+" WHERE organization_id = $2) numbered WHERE id = at", untold, victim.id)
	}
	before := victim.snapshot()

	wanted := []int{*hostileRound}
	if *hostileRound < 0 {
		wanted = make([]int, (*hostileRequests+perRound-1)/perRound)
		for round := range wanted {
			wanted[round] = round
		}
	}
	rounds := make(chan int, len(wanted))
	for _, round := range wanted {
		rounds <- round
	}
	close(rounds)
	var players sync.WaitGroup
	for range runtime.GOMAXPROCS(0) * 2 {
		players.Go(func() {
			for round := range rounds {
				if game.failures.Load() < enough {
					game.play(round)
				}
			}
		})
	}
	players.Wait()

	if after := victim.snapshot(); after != before {
		t.Errorf("another organization's data have changed from\n%s\nto\n%s", before, after)
	}
	t.Logf("seed %d: %s", seed, &game.tally)
	if *hostileRound < 0 && *hostileRequests >= 2000 {
		game.tally.mustCoverAll(t)
	}
}

// untold is part of all texts of the other organization. No response may contain it.
const untold = "this must not be exposed"

// hostility is the state that all rounds share.
type hostility struct {
	*server
	seed    uint64
	victim  organization
	foreign things
	tally   tally
	// failures counts the failures, so that one does not hide the next.
	failures atomic.Int64
}

// enough is the maximum number of reported failures.
const enough = 20

func (h *hostility) fail(format string, args ...any) {
	if h.failures.Add(1) <= enough {
		h.t.Errorf(format, args...)
	}
}

// play runs a round: it creates an organization with its resources, sends requests, and sends all refused requests
// once more, which must change nothing.
func (h *hostility) play(round int) {
	r := rand.New(rand.NewPCG(h.seed, uint64(round)))
	o := h.organization()
	field := &battlefield{hostility: h, organization: o, keys: map[string]caller{
		"admin": o.as("admin", auth.Admin), "chat": o.as("me", auth.Chat), "agent": o.as("agent", auth.Agent, auth.Manage),
	}}
	field.own = field.keys["chat"].one()
	field.tokens = map[string]string{}
	for purpose, body := range map[string]object{
		"conversation": {"conversation": field.own["conversations"]}, "contact": {"contact": field.own["contacts"]}, "chatbot": {"chatbot": field.own["chatbots"]},
	} {
		field.tokens[purpose] = field.keys["chat"].token(body)
	}
	line := dial(h.server)
	defer line.close()
	var refused []plan
	for i := range perRound {
		p := field.plan(r)
		got, err := h.check(line, p)
		if err != nil {
			h.fail("seed %d, round %d, request %d: %v", h.seed, round, i, field.least(line, p, err))
			continue
		}
		h.tally.add(p.op.id, got)
		if len(got) > 0 && !slices.ContainsFunc(got, func(one answer) bool { return one.status < 400 }) {
			refused = append(refused, p)
		}
		if p.op.method == http.MethodDelete && len(got) > 0 && got[0].status < 300 || i%50 == 49 {
			field.own = field.keys["chat"].one()
		}
	}
	h.mustChangeNothing(round, line, o, refused)
}

// mustChangeNothing sends the refused requests again after all runs have ended. Requests that succeed this time,
// because the state has changed, are left out.
func (h *hostility) mustChangeNothing(round int, line *line, o organization, refused []plan) {
	for len(refused) > 0 {
		eventually(h.t, "the replies are written", func() bool {
			return query[int](h.server, "SELECT count(*) FROM runs WHERE organization_id = $1 AND state IN ('queued', 'running')", o.id) == 0
		})
		before := o.snapshot()
		var still []plan
		for _, p := range refused {
			got, err := h.check(line, p)
			if err != nil {
				h.fail("seed %d, round %d, sent again: %v\n%s", h.seed, round, err, p)
				return
			}
			if !slices.ContainsFunc(got, func(one answer) bool { return one.status < 400 }) {
				still = append(still, p)
			}
		}
		if len(still) < len(refused) {
			refused = still
			continue
		}
		h.tally.again.Add(int64(len(still)))
		if after := o.snapshot(); after != before {
			if len(refused) > 1 { // find the request that changed the snapshot
				h.mustChangeNothing(round, line, o, refused[:len(refused)/2])
				h.mustChangeNothing(round, line, o, refused[len(refused)/2:])
			}
			if len(refused) == 1 {
				h.fail("seed %d, round %d: a refused request wrote something\n%s\n%s", h.seed, round, refused[0], diffLines(before, after))
			}
		}
		return
	}
}

// check sends the request of a plan, and returns what is wrong with the responses.
func (h *hostility) check(line *line, p plan) ([]answer, error) {
	sent := p.attempt()
	got, err := line.send(sent)
	if err != nil {
		return nil, err
	}
	for _, one := range got {
		if err := h.fits(sent, one); err != nil {
			return nil, fmt.Errorf("%w\nthe answer: %d %v\n%.2000s", err, one.status, one.header, one.body)
		}
	}
	return got, nil
}

// least describes the failure of a plan with as few mutations as possible.
func (f *battlefield) least(line *line, p plan, err error) string {
	for i := 0; i < len(p.steps); {
		fewer := p
		fewer.steps = slices.Delete(slices.Clone(p.steps), i, i+1)
		if _, still := f.check(line, fewer); still != nil {
			p, err = fewer, still
		} else {
			i++
		}
	}
	return fmt.Sprintf("%v\n%s", err, p)
}

// tally counts the requests and their responses.
type tally struct {
	mu         sync.Mutex
	operations map[string]int
	statuses   map[int]int
	requests   int
	again      atomic.Int64
}

func (c *tally) add(operation string, got []answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.operations == nil {
		c.operations, c.statuses = map[string]int{}, map[int]int{}
	}
	c.requests++
	c.operations[operation]++
	for _, one := range got {
		c.statuses[one.status]++
	}
}

func (c *tally) mustCoverAll(t *testing.T) {
	t.Helper()
	for _, op := range operations {
		if c.operations[op.id] == 0 {
			t.Errorf("%s got no request", op.id)
		}
	}
	accepted := 0
	for status, n := range c.statuses {
		if status < 300 {
			accepted += n
		}
	}
	if accepted < c.requests/20 {
		t.Errorf("of %d requests only %d were accepted: they do not come far", c.requests, accepted)
	}
}

// String returns the counts as a table.
func (c *tally) String() string {
	var all strings.Builder
	fmt.Fprintf(&all, "%d requests to %d operations; of the refused, %d sent again changed nothing; answers:", c.requests, len(c.operations), c.again.Load())
	for _, status := range slices.Sorted(maps.Keys(c.statuses)) {
		fmt.Fprintf(&all, " %d×%d", status, c.statuses[status])
	}
	return all.String()
}
