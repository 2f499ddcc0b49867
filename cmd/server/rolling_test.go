package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley/internal/redistest"
)

const (
	rollingDrain = 2 * time.Second
	rollingProbe = 100 * time.Millisecond // between two readiness probes
	rollingPace  = 400 * time.Millisecond // between two requests of a client
)

// balancer is a load balancer that sends each request once, to an instance whose last readiness probe succeeded.
type balancer struct {
	*chaos

	ready [2]atomic.Bool
}

func (b *balancer) probe(ctx context.Context) {
	api := &http.Client{Timeout: rollingDrain / 2}
	for ctx.Err() == nil {
		for i := range b.ready {
			c := b.client(i)
			c.http = api
			b.ready[i].Store(c.status("/readyz") == http.StatusOK)
		}
		pause(ctx, rollingProbe)
	}
}

// pick returns a ready instance, alternating between both.
func (b *balancer) pick(n int) client {
	i := n % 2
	if !b.ready[i].Load() {
		i = 1 - i
	}
	return b.client(i)
}

// retry sends a GET request to both instances in turn until it succeeds. It retries connection errors and 503 with a
// Retry-After header.
func (b *balancer) retry(ctx context.Context, path string, n int) {
	for ; ctx.Err() == nil; n++ {
		answer, err := b.client(n%2).open("GET", path, nil)
		if err != nil {
			b.refusals.Add(1)
			pause(ctx, rollingProbe)
			continue
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		switch {
		case err == nil && answer.StatusCode == http.StatusOK:
			return
		case answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "":
			b.refusals.Add(1)
			pause(ctx, rollingProbe)
		default:
			b.t.Errorf("GET %s: %s, %v", path, answer.Status, err)
			return
		}
	}
}

// startBalancer starts a balancer whose readiness probes run until the test ends.
func startBalancer(t *testing.T, servers [2]*process) *balancer {
	t.Helper()
	b := &balancer{chaos: newChaos(t, servers)}
	for i := range b.ready {
		b.ready[i].Store(true)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var probing sync.WaitGroup
	probing.Go(func() { b.probe(ctx) })
	t.Cleanup(func() {
		cancel()
		probing.Wait()
	})
	return b
}

// createConversations creates six conversations with two devices each.
func (b *balancer) createConversations() {
	b.t.Helper()
	for i := range 6 {
		talk := &chaosTalk{id: b.client(0).start(), acknowledged: map[string]string{}}
		for j := range 2 {
			talk.devices = append(talk.devices, &device{chaos: b.chaos, talk: talk, name: fmt.Sprintf("conversation %d, device %d", i, j)})
		}
		b.talks = append(b.talks, talk)
	}
}

// rollingLoad sends requests until it is stopped. Requests through the balancer are sent once. Direct requests are
// retried, which is safe for them.
type rollingLoad struct {
	*balancer

	conversation, briefText     string
	sent, streams, reads, keyed atomic.Int64
	stop                        func() // returns after the last response
}

func (b *balancer) startRollingLoad(seed uint64, briefText string) *rollingLoad {
	b.t.Helper()
	ctx := b.t.Context() // of retries, which may outlast the load
	over, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	l := &rollingLoad{balancer: b, conversation: b.client(0).start(), briefText: briefText}
	l.stop = func() {
		end()
		running.Wait()
	}
	b.t.Cleanup(l.stop)
	repeat := func(do func(n int)) {
		running.Go(func() {
			for n := 0; over.Err() == nil; n++ {
				do(n)
				pause(over, rollingPace)
			}
		})
	}
	repeat(l.sendOnce)
	repeat(l.streamOnce)
	repeat(func(n int) {
		b.retry(ctx, "/api/conversations/"+l.conversation+"/history", n)
		l.reads.Add(1)
	})
	for i := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 100+i))
		repeat(func(n int) {
			talk := b.talks[random.IntN(len(b.talks))]
			b.post(ctx, talk, fmt.Sprintf("posted-%d-%d", i, n), random)
			talk.devices[random.IntN(2)].send(ctx, fmt.Sprintf("said-%d-%d", i, n))
			l.keyed.Add(1)
		})
	}
	return l
}

// sendOnce sends a message through the balancer.
func (l *rollingLoad) sendOnce(n int) {
	if _, status, err := l.pick(n).send(l.conversation, fmt.Sprintf("What is Parley? %d", n)); err != nil || status != http.StatusCreated {
		l.t.Errorf("message %d through the balancer: %d, %v", n, status, err)
	}
	l.sent.Add(1)
}

// streamOnce streams a completion through the balancer.
func (l *rollingLoad) streamOnce(n int) {
	answer, err := l.pick(n).open("POST", "/api/chatbots/slow/completions/", object{"message": object{"content": "brief"}, "isStreaming": true})
	if err != nil {
		l.t.Errorf("stream %d through the balancer: %v", n, err)
		return
	}
	defer answer.Body.Close()
	var events []event
	if err := eachEvent(answer.Body, func(ev event) { events = append(events, ev) }); err != nil || textOf(events) != l.briefText || events[len(events)-1].FinishReason != "stop" {
		l.t.Errorf("stream %d through the balancer: %s, %v, %+v", n, answer.Status, err, events)
	}
	l.streams.Add(1)
}

// throughBalancer returns the number of requests through the balancer so far.
func (l *rollingLoad) throughBalancer() int64 { return l.sent.Load() + l.streams.Load() }

func TestRollingRestartFailsNoRequest(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	// given: two instances behind a load balancer, conversations with two devices each, and load
	environment := []string{"REDIS_URL=" + redistest.Start(t).URL, "PARLEY_DRAIN=" + rollingDrain.String()}
	p := servingPair(t, environment...)
	servers := [2]*process{p.first, p.second}
	b := startBalancer(t, servers)
	long, longText := scriptRule("long", 40, 1000)
	brief, briefText := scriptRule("brief", 10, 100)
	quick, _ := scriptRule("long", 40, 0)
	b.client(0).createScriptedBot("slow", long, brief)
	b.createConversations()
	disconnect := b.connectDevices(seed)
	load := b.startRollingLoad(seed, briefText)

	// when: the instances are replaced one after the other, during a reply that exceeds the grace period
	overlong := b.client(0).stream("slow", "", "long")
	eventually(t, "the reply has started", func() bool { return len(overlong.received()) > 1 })
	for i := range servers {
		servers[i].signal(syscall.SIGTERM)
		if i == 0 {
			b.client(1).call("PATCH", "/api/chatbots/slow/", object{"script": object{"rules": []object{quick, brief}}}, http.StatusOK, nil)
		}
		if code := servers[i].awaitExit(rollingDrain + replyGracePeriod + requestGracePeriod + testTimeout); code != 0 {
			t.Errorf("instance %d: exit code %d", i, code)
		}
		before := load.throughBalancer()
		servers[i] = serving(t, newDir(t), append(environment, "DATABASE_URL="+p.address)...)
		b.bases[i].Store(&servers[i].base)
		eventually(t, "the new instance receives requests", func() bool { return b.ready[i].Load() && load.throughBalancer() > before+5 })
	}
	load.stop()

	// then: the interrupted reply is completed by the other instance, and each device has all messages, once and in order
	b.checkInterruptedReply(overlong, longText)
	b.awaitDevices(p.conn)
	disconnect()
	stored, _ := b.check()
	t.Logf("%d messages and %d streams through the balancer, %d messages and %d reads with %d retries directly; %d connections; %d messages stored",
		load.sent.Load(), load.streams.Load(), load.keyed.Load(), load.reads.Load(), b.refusals.Load(), b.links.Load(), stored)
	if load.sent.Load() < 40 || load.streams.Load() < 10 || b.refusals.Load() == 0 || b.links.Load() <= 12 {
		t.Error("too little load for a meaningful test")
	}
	servers[0].stop()
	servers[1].stop()
}

// checkInterruptedReply checks that the first stream of a reply ended with a part of the text, and that a resumed stream
// has the whole text of the second attempt.
func (b *balancer) checkInterruptedReply(reply completionStream, whole string) {
	b.t.Helper()
	got, last := reply.finish(b.t)
	if last.Error == nil || last.Error.Error != "unavailable" || got == "" || !strings.HasPrefix(whole, got) {
		b.t.Errorf("the overlong reply: text %q, final event %+v", got, last)
	}
	heard := reply.received()
	rest, last := b.client(1).with("Last-Event-ID", heard[len(heard)-1].ID).resume(reply.run).finish(b.t)
	if run := b.client(0).run(reply.run); last.FinishReason != "stop" || rest != whole || run.Attempt != 2 {
		b.t.Errorf("resumed: text %q, final event %+v, run %+v", rest, last, run)
	}
}
