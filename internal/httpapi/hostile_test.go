package httpapi_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
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
	hostileRequests = flag.Int("requests", 2000, "the number of requests that TestHostileRequests sends")
	hostileSeed     = flag.Uint64("seed", 0, "the seed of TestHostileRequests; 0: random")
	hostileRound    = flag.Int("round", -1, "the only round of TestHostileRequests to run; -1: all")
)

// requestsPerRound is the number of requests per organization. A small number keeps the snapshots small.
const requestsPerRound = 250

// No valid, nearly valid or hostile request causes an internal error, a panic or a response that the document does
// not declare. A refused request writes nothing, and no data of another organization is changed or exposed.
//
// `make hostile` sends 100,000 requests. A failure names its seed and round, which reproduce it, and the minimal set
// of mutations that still fails.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*hostileSeed, uint64(time.Now().UnixNano()))
	log := &logChecker{t: t}
	s := serveWith(t, settings{log: log, origins: []string{"https://shop.example"}})
	victim := s.organization()
	run := &hostileTest{server: s, seed: seed, victim: victim, foreign: victim.as("victim", auth.Admin).createResources()}
	for _, text := range []string{"message_history.content", "records.output_message", "contacts.name", "bots.name", "faqs.answer", "web_chats.name", "inboxes.name", "users.name", "sessions.title", "api_keys.name"} {
		table, column, _ := strings.Cut(text, ".")
		s.exec("UPDATE "+table+" SET "+column+" = $1 || row_number FROM (SELECT id AS at, row_number() OVER () FROM "+table+" WHERE organization_id = $2) numbered WHERE id = at", forbiddenText, victim.id)
	}
	before := victim.snapshot()

	wanted := []int{*hostileRound}
	if *hostileRound < 0 {
		wanted = make([]int, (*hostileRequests+requestsPerRound-1)/requestsPerRound)
		for round := range wanted {
			wanted[round] = round
		}
	}
	rounds := make(chan int, len(wanted))
	for _, round := range wanted {
		rounds <- round
	}
	close(rounds)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) * 2 {
		workers.Go(func() {
			for round := range rounds {
				if run.failures.Load() < maxReported {
					run.runRound(round)
				}
			}
		})
	}
	workers.Wait()

	if after := victim.snapshot(); after != before {
		t.Errorf("data of another organization changed from\n%s\nto\n%s", before, after)
	}
	t.Logf("seed %d: %s", seed, &run.tally)
	if *hostileRound < 0 && *hostileRequests >= 2000 {
		run.tally.mustCoverAll(t)
	}
}

// forbiddenText is part of all texts of the other organization. No response may contain it.
const forbiddenText = "this must not be exposed"

// hostileTest is the state that all rounds share.
type hostileTest struct {
	*server
	seed    uint64
	victim  organization
	foreign resourceIDs
	tally   tally
	// failures counts the failures, so that one does not hide the next.
	failures atomic.Int64
}

// maxReported is the maximum number of reported failures.
const maxReported = 20

func (h *hostileTest) reportFailure(format string, args ...any) {
	if h.failures.Add(1) <= maxReported {
		h.t.Errorf(format, args...)
	}
}

// runRound runs a round: it creates an organization with its resources, sends requests, and sends all refused requests
// once more, which must change nothing.
func (h *hostileTest) runRound(round int) {
	r := rand.New(rand.NewPCG(h.seed, uint64(round)))
	o := h.organization()
	generator := &requestGenerator{hostileTest: h, organization: o, keys: map[string]caller{
		"admin": o.as("admin", auth.Admin), "chat": o.as("me", auth.Chat), "agent": o.as("agent", auth.Agent, auth.Manage),
	}}
	generator.own = generator.keys["chat"].createResources()
	generator.tokens = map[string]string{}
	for purpose, body := range map[string]object{
		"conversation": {"conversation": generator.own["conversations"]}, "contact": {"contact": generator.own["contacts"]}, "chatbot": {"chatbot": generator.own["chatbots"]},
	} {
		generator.tokens[purpose] = generator.keys["chat"].token(body)
	}
	line := dialRaw(h.server)
	defer line.close()
	var refused []plan
	for i := range requestsPerRound {
		p := generator.newPlan(r)
		got, err := h.check(line, p)
		if err != nil {
			h.reportFailure("seed %d, round %d, request %d: %v", h.seed, round, i, generator.minimize(line, p, err))
			continue
		}
		h.tally.add(p.op.id, got)
		if len(got) > 0 && !slices.ContainsFunc(got, func(response answer) bool { return response.status < 400 }) {
			refused = append(refused, p)
		}
		if p.op.deletes() && len(got) > 0 && got[0].status < 300 || i%50 == 49 {
			generator.own = generator.keys["chat"].createResources()
		}
	}
	h.checkRefusedRequests(round, line, o, refused)
}

// checkRefusedRequests sends the refused requests again after all runs have ended. Requests that succeed this time,
// because the state has changed, are left out.
func (h *hostileTest) checkRefusedRequests(round int, line *rawConnection, o organization, refused []plan) {
	for len(refused) > 0 {
		eventually(h.t, "all runs have ended", func() bool {
			return query[int](h.server, "SELECT count(*) FROM runs WHERE organization_id = $1 AND state IN ('queued', 'running')", o.id) == 0
		})
		before := o.snapshot()
		var still []plan
		for _, p := range refused {
			got, err := h.check(line, p)
			if err != nil {
				h.reportFailure("seed %d, round %d, sent again: %v\n%s", h.seed, round, err, p)
				return
			}
			if !slices.ContainsFunc(got, func(response answer) bool { return response.status < 400 }) {
				still = append(still, p)
			}
		}
		if len(still) < len(refused) {
			refused = still
			continue
		}
		h.tally.resent.Add(int64(len(still)))
		if after := o.snapshot(); after != before {
			if len(refused) > 1 { // find the request that changed the snapshot
				h.checkRefusedRequests(round, line, o, refused[:len(refused)/2])
				h.checkRefusedRequests(round, line, o, refused[len(refused)/2:])
			}
			if len(refused) == 1 {
				h.reportFailure("seed %d, round %d: a refused request changed data\n%s\n%s", h.seed, round, refused[0], diffLines(before, after))
			}
		}
		return
	}
}

// check sends the request of a plan, and returns what is wrong with the responses.
func (h *hostileTest) check(line *rawConnection, p plan) ([]answer, error) {
	sent := p.build()
	got, err := line.send(sent)
	if err != nil {
		return nil, err
	}
	for _, response := range got {
		if err := h.checkResponse(sent, response); err != nil {
			return nil, fmt.Errorf("%w\nthe response: %d %v\n%.2000s", err, response.status, response.header, response.body)
		}
	}
	return got, nil
}

// minimize describes the failure of a plan with as few mutations as possible.
func (g *requestGenerator) minimize(line *rawConnection, p plan, err error) string {
	for i := 0; i < len(p.steps); {
		fewer := p
		fewer.steps = slices.Delete(slices.Clone(p.steps), i, i+1)
		if _, still := g.check(line, fewer); still != nil {
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
	resent     atomic.Int64
}

func (c *tally) add(operation string, got []answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.operations == nil {
		c.operations, c.statuses = map[string]int{}, map[int]int{}
	}
	c.requests++
	c.operations[operation]++
	for _, response := range got {
		c.statuses[response.status]++
	}
}

func (c *tally) mustCoverAll(t *testing.T) {
	t.Helper()
	for _, op := range operations {
		if c.operations[op.id] == 0 {
			t.Errorf("%s received no request", op.id)
		}
	}
	accepted := 0
	for status, n := range c.statuses {
		if status < 300 {
			accepted += n
		}
	}
	if accepted < c.requests/20 {
		t.Errorf("only %[2]d of %[1]d requests were accepted: too few reach the handlers", c.requests, accepted)
	}
}

// String returns the counts as a table.
func (c *tally) String() string {
	var all strings.Builder
	fmt.Fprintf(&all, "%d requests to %d operations; %d refused requests were sent again and changed nothing; responses by status:", c.requests, len(c.operations), c.resent.Load())
	for _, status := range slices.Sorted(maps.Keys(c.statuses)) {
		fmt.Fprintf(&all, " %d×%d", status, c.statuses[status])
	}
	return all.String()
}
