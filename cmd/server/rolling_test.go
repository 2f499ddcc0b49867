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

func TestRollingRestartFailsNoRequest(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	// given: two instances behind a load balancer, and conversations with two devices each
	environment := []string{"REDIS_URL=" + redistest.Start(t).URL, "PARLEY_DRAIN=" + rollingDrain.String()}
	p := servingPair(t, environment...)
	servers := [2]*process{p.first, p.second}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	b := &balancer{chaos: &chaos{t: t, key: p.first.key, opening: make(chan struct{}, fewAtOnce), http: &http.Client{Transport: transport}}}
	for i, instance := range servers {
		b.bases[i].Store(&instance.base)
		b.ready[i].Store(true)
	}
	first := b.client(0)
	long, longText := scriptRule("long", 40, 1000)
	brief, briefText := scriptRule("brief", 10, 100)
	quick, _ := scriptRule("long", 40, 0)
	first.createScriptedBot("slow", long, brief)
	ctx, cancel := context.WithCancel(t.Context())
	var probing, devices, load sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		load.Wait()
		devices.Wait()
		probing.Wait()
		transport.CloseIdleConnections()
	})
	probing.Go(func() { b.probe(ctx) })
	for i := range 6 {
		talk := &chaosTalk{id: first.start(), acknowledged: map[string]string{}}
		for j := range 2 {
			d := &device{chaos: b.chaos, talk: talk, name: fmt.Sprintf("conversation %d, device %d", i, j)}
			talk.devices = append(talk.devices, d)
			devices.Go(func() { d.live(ctx, rand.New(rand.NewPCG(seed, uint64(10*i+j)))) })
		}
		b.talks = append(b.talks, talk)
	}
	within(t, time.Minute, "all devices are connected", func() bool { return b.links.Load() == 12 })

	// and: requests through the balancer, which are sent once, and direct requests, which are retried if that is safe
	over, end := context.WithCancel(ctx)
	defer end()
	var sent, streams, reads, keyed atomic.Int64
	plain := first.start()
	loading := func(do func(n int)) {
		load.Go(func() {
			for n := 0; over.Err() == nil; n++ {
				do(n)
				pause(over, rollingPace)
			}
		})
	}
	loading(func(n int) {
		if _, status, err := b.pick(n).send(plain, fmt.Sprintf("What is Parley? %d", n)); err != nil || status != http.StatusCreated {
			t.Errorf("message %d through the balancer: %d, %v", n, status, err)
		}
		sent.Add(1)
	})
	loading(func(n int) {
		answer, err := b.pick(n).open("POST", "/api/chatbots/slow/completions/", object{"message": object{"content": "brief"}, "isStreaming": true})
		if err != nil {
			t.Errorf("stream %d through the balancer: %v", n, err)
			return
		}
		defer answer.Body.Close()
		var events []event
		if err := eachEvent(answer.Body, func(ev event) { events = append(events, ev) }); err != nil || textOf(events) != briefText || events[len(events)-1].FinishReason != "stop" {
			t.Errorf("stream %d through the balancer: %s, %v, %+v", n, answer.Status, err, events)
		}
		streams.Add(1)
	})
	loading(func(n int) {
		b.retry(ctx, "/api/conversations/"+plain+"/history", n)
		reads.Add(1)
	})
	for i := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 100+i))
		loading(func(n int) {
			talk := b.talks[random.IntN(len(b.talks))]
			b.post(ctx, talk, fmt.Sprintf("posted-%d-%d", i, n), random)
			talk.devices[random.IntN(2)].send(ctx, fmt.Sprintf("said-%d-%d", i, n))
			keyed.Add(1)
		})
	}

	// when: the instances are replaced one after the other, during a reply that exceeds the grace period
	overlong := first.stream("slow", "", "long")
	eventually(t, "the reply has started", func() bool { return len(overlong.received()) > 1 })
	for i := range servers {
		servers[i].signal(syscall.SIGTERM)
		if i == 0 {
			b.client(1).call("PATCH", "/api/chatbots/slow/", object{"script": object{"rules": []object{quick, brief}}}, http.StatusOK, nil)
		}
		if code := servers[i].awaitExit(rollingDrain + replyGracePeriod + requestGracePeriod + testTimeout); code != 0 {
			t.Errorf("instance %d: exit code %d", i, code)
		}
		before := sent.Load() + streams.Load()
		servers[i] = serving(t, newDir(t), append(environment, "DATABASE_URL="+p.address)...)
		b.bases[i].Store(&servers[i].base)
		eventually(t, "the new instance receives requests", func() bool { return b.ready[i].Load() && sent.Load()+streams.Load() > before+5 })
	}
	end()
	load.Wait()

	// then: the interrupted reply is completed by the other instance
	got, last := overlong.finish(t)
	if last.Error == nil || last.Error.Error != "unavailable" || got == "" || !strings.HasPrefix(longText, got) {
		t.Errorf("the overlong reply: text %q, final event %+v", got, last)
	}
	heard := overlong.received()
	rest, last := b.client(1).with("Last-Event-ID", heard[len(heard)-1].ID).resume(overlong.run).finish(t)
	if run := b.client(0).run(overlong.run); last.FinishReason != "stop" || rest != longText || run.Attempt != 2 {
		t.Errorf("resumed: text %q, final event %+v, run %+v", rest, last, run)
	}

	// and: each device has all messages, once and in order
	within(t, time.Minute, "all runs have ended", func() bool {
		return number(t, p.conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	for _, talk := range b.talks {
		n := number(t, p.conn, "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = $1", talk.id)
		for _, d := range talk.devices {
			within(t, chaosCatch, d.name+" catches up", func() bool { return d.isAt(n) })
		}
	}
	cancel()
	devices.Wait()
	stored, _ := b.check()
	t.Logf("%d messages and %d streams through the balancer, %d messages and %d reads with %d retries directly; %d connections; %d messages stored",
		sent.Load(), streams.Load(), keyed.Load(), reads.Load(), b.refusals.Load(), b.links.Load(), stored)
	if sent.Load() < 40 || streams.Load() < 10 || b.refusals.Load() == 0 || b.links.Load() <= 12 {
		t.Error("too little load for a meaningful test")
	}
	servers[0].stop()
	servers[1].stop()
}
