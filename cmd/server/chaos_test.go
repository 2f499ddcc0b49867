package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/redistest"
)

const (
	chaosTime   = 18 * time.Second // the duration of the load
	chaosTalks  = 300
	chaosBots   = 30 // conversations in which the chatbot replies
	chaosDevice = 3  // sockets for each conversation
	chaosCatch  = 10 * time.Second
	senderPace  = 80 * time.Millisecond // between two messages of a sender
	cutterPace  = 70 * time.Millisecond // between two cuts of a cutter
	fewAtOnce   = 6                     // senders of each kind, and connections that are opened at the same time
)

// chaos is two instances with a shared database and Redis under load and failures.
type chaos struct {
	t       *testing.T
	key     string
	bases   [2]atomic.Pointer[string]
	http    *http.Client
	opening chan struct{} // a semaphore for connections that are being opened
	talks   []*chaosTalk

	posted, spoken, cuts, links, refusals atomic.Int64
}

// chaosTalk is a conversation and its devices.
type chaosTalk struct {
	id      string
	devices []*device

	mu           sync.Mutex
	acknowledged map[string]string // the acknowledged contents, with their message IDs
}

func newChaos(t *testing.T, servers [2]*process) *chaos {
	t.Helper()
	c := &chaos{
		t: t, key: servers[0].key, opening: make(chan struct{}, fewAtOnce),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	t.Cleanup(c.http.CloseIdleConnections)
	for i, server := range servers {
		c.bases[i].Store(&server.base)
	}
	return c
}

func (c *chaos) client(i int) client {
	return client{t: c.t, base: *c.bases[i].Load(), key: c.key, http: c.http}
}

// post sends a message over REST and retries on either instance until it is accepted.
func (c *chaos) post(ctx context.Context, talk *chaosTalk, content string, random *rand.Rand) {
	for ctx.Err() == nil {
		status, answer, err := c.client(random.IntN(2)).with("Idempotency-Key", content).
			try("POST", "/api/conversations/"+talk.id+"/messages", object{"content": content})
		var message sent
		switch {
		case err == nil && status == http.StatusCreated && json.Unmarshal(answer, &message) == nil:
			c.posted.Add(1)
			talk.note(content, message.ID)
			return
		case err == nil && status != http.StatusServiceUnavailable && status != http.StatusConflict:
			c.t.Errorf("post %q: %d: %s", content, status, answer)
			return
		}
		c.refusals.Add(1)
		pause(ctx, senderPace)
	}
}

// pause waits for a duration or until ctx is done.
func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-time.After(duration):
	case <-ctx.Done():
	}
}

// startLoad sends messages and cuts connections for chaosTime. The returned function waits for the end of the load.
func (c *chaos) startLoad(seed uint64) (wait func()) {
	ctx := c.t.Context()
	over, end := context.WithTimeout(ctx, chaosTime)
	c.t.Cleanup(end)
	var all sync.WaitGroup
	c.t.Cleanup(all.Wait)
	pacing := func(kind uint64, pace time.Duration, do func(name string, talk *chaosTalk, random *rand.Rand)) {
		for i := range uint64(fewAtOnce) {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, kind<<32+i))
				tick := time.NewTicker(pace)
				defer tick.Stop()
				for n := 0; ; n++ {
					select {
					case <-tick.C:
						do(fmt.Sprintf("%d-%d-%d", kind, i, n), c.talks[random.IntN(len(c.talks))], random)
					case <-over.Done():
						return
					}
				}
			})
		}
	}
	pacing(1, senderPace, func(name string, talk *chaosTalk, random *rand.Rand) { c.post(ctx, talk, name, random) })
	pacing(2, senderPace, func(name string, talk *chaosTalk, random *rand.Rand) {
		if talk.devices[random.IntN(chaosDevice)].send(ctx, name) {
			c.spoken.Add(1)
		}
	})
	pacing(3, cutterPace, func(_ string, talk *chaosTalk, random *rand.Rand) {
		talk.devices[random.IntN(chaosDevice)].cut(random)
	})
	return all.Wait
}

// start creates the conversations, a few concurrently.
func (c *chaos) start(bots int) {
	c.talks = make([]*chaosTalk, chaosTalks)
	var all sync.WaitGroup
	for from := range fewAtOnce {
		all.Go(func() {
			for i := from; i < chaosTalks; i += fewAtOnce {
				talk := &chaosTalk{acknowledged: map[string]string{}}
				var started struct {
					ID string `json:"conversation_id"`
				}
				_, answer, err := c.client(i%2).try("POST", "/api/conversations/start", object{"bot_id": "parley"})
				if err == nil {
					err = json.Unmarshal(answer, &started)
				}
				if err == nil && i >= bots {
					_, _, err = c.client(i%2).try("PATCH", "/api/conversations/"+started.ID+"/", object{"autoReplyEnabled": false})
				}
				if err != nil || started.ID == "" {
					c.t.Errorf("start a conversation: %v: %s", err, answer)
				}
				talk.id = started.ID
				for j := range chaosDevice {
					talk.devices = append(talk.devices, &device{chaos: c, talk: talk, name: fmt.Sprintf("conversation %d, device %d", i, j)})
				}
				c.talks[i] = talk
			}
		})
	}
	all.Wait()
}

// check compares the messages of the devices and the acknowledged ones with the stored ones. It returns the number of
// stored messages, and how many of them are replies.
func (c *chaos) check() (stored, answers int) {
	for i, talk := range c.talks {
		var ids []string
		for j, m := range c.client(i % 2).messages(talk.id) {
			if m.Seq != int64(j+1) {
				c.t.Errorf("conversation %d: message %d: seq %d", i, j+1, m.Seq)
			}
			ids = append(ids, m.ID)
			if m.Type == "outgoing" {
				answers++
				continue
			}
			if talk.acknowledged[m.Content] != m.ID {
				c.t.Errorf("conversation %d: %q is stored as %s, acknowledged as %q, or stored twice", i, m.Content, m.ID, talk.acknowledged[m.Content])
			}
			delete(talk.acknowledged, m.Content)
		}
		stored += len(ids)
		if len(talk.acknowledged) > 0 {
			c.t.Errorf("conversation %d: lost %v", i, talk.acknowledged)
		}
		for _, d := range talk.devices {
			if !slices.Equal(d.got, ids) {
				c.t.Errorf("%s received %v, stored %v", d.name, d.got, ids)
			}
		}
	}
	return stored, answers
}

// connectDevices keeps all devices connected until stop is called or the test ends.
func (c *chaos) connectDevices(seed uint64) (stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	var running sync.WaitGroup
	devices := uint64(0)
	for _, talk := range c.talks {
		for _, d := range talk.devices {
			devices++
			random := rand.New(rand.NewPCG(seed, 4<<32+devices))
			running.Go(func() { d.live(ctx, random) })
		}
	}
	stop = func() {
		cancel()
		running.Wait()
	}
	c.t.Cleanup(stop)
	within(c.t, time.Minute, "all devices are connected", func() bool { return c.links.Load() == int64(devices) })
	return stop
}

// awaitDevices waits until all runs have ended and each device has as many messages as are stored. It returns how long
// the devices took after the last run.
func (c *chaos) awaitDevices(conn *pgx.Conn) time.Duration {
	c.t.Helper()
	within(c.t, time.Minute, "all runs have ended", func() bool {
		return number(c.t, conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	began := time.Now()
	for _, talk := range c.talks {
		n := number(c.t, conn, "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = $1", talk.id)
		for _, d := range talk.devices {
			within(c.t, chaosCatch-time.Since(began), d.name+" catches up", func() bool { return d.isAt(n) })
		}
	}
	return time.Since(began)
}

// Not parallel, because it uses all CPUs.
func TestDevicesReceiveEachMessageOnceDuringFailures(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given: three devices in each of many conversations, on two instances
	redis := redistest.Start(t)
	environment := []string{"REDIS_URL=" + redis.URL, "PARLEY_SOCKET_LIMITS=user=0,address=0"}
	p := servingPair(t, environment...)
	servers := [2]*process{p.first, p.second}
	c := newChaos(t, servers)
	c.start(chaosBots)
	disconnect := c.connectDevices(seed)

	// when: messages are sent and connections are cut at random while Redis is flushed and restarted empty, and one
	// instance is stopped or killed and replaced
	awaitLoad := c.startLoad(seed)
	disturbRedis(redis, chaosTime/6)
	i, isKilled := random.IntN(2), random.IntN(2) == 0
	if isKilled {
		servers[i].kill()
	} else {
		servers[i].stop()
	}
	servers[i] = serving(t, newDir(t), append(environment, "DATABASE_URL="+p.address)...)
	c.bases[i].Store(&servers[i].base)
	awaitLoad()

	// then: once all runs have ended, each device soon has all stored messages, once and in order
	caught := c.awaitDevices(p.conn)
	disconnect()
	stored, answers := c.check()
	t.Logf("instance %d stopped, killed: %t; %d messages: %d over REST, %d over sockets, %d replies; %d cuts, %d reconnects, %d refusals; caught up in %s",
		i, isKilled, stored, c.posted.Load(), c.spoken.Load(), answers, c.cuts.Load(), c.links.Load()-chaosTalks*chaosDevice, c.refusals.Load(), caught)
	if stored < 1000 || answers == 0 || c.cuts.Load() < 300 {
		t.Error("too little load for a meaningful test")
	}
	servers[0].stop()
	servers[1].stop()
}

// disturbRedis flushes Redis, stops it and starts it again, with pauses around each step.
func disturbRedis(redis *redistest.Server, pause time.Duration) {
	<-time.After(pause)
	redis.Flush()
	<-time.After(pause)
	redis.Stop()
	<-time.After(pause)
	redis.Start()
	<-time.After(pause)
}
