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

	"parley/internal/redistest"
)

const (
	chaosTime   = 18 * time.Second // how long messages are sent and links are cut
	chaosTalks  = 300
	chaosBots   = 30 // in so many of them the bot answers
	chaosDevice = 3  // sockets in each
	chaosCatch  = 10 * time.Second
	senderPace  = 80 * time.Millisecond // of each of the senders over REST and over sockets
	cutterPace  = 70 * time.Millisecond // of each of those who cut
	fewAtOnce   = 6                     // senders of a kind, and links that are opened at once
)

// chaos is two servers that share all and that anything may happen to.
type chaos struct {
	t       *testing.T
	key     string
	bases   [2]atomic.Pointer[string]
	http    *http.Client
	opening chan struct{} // has a place for each link that may be opened at once
	talks   []*chaosTalk

	posted, spoken, cuts, links, refusals atomic.Int64
}

// chaosTalk is a conversation and those who listen to it.
type chaosTalk struct {
	id      string
	devices []*device

	mu   sync.Mutex
	said map[string]string // what was acknowledged, and as which message
}

func (c *chaos) client(i int) client {
	return client{t: c.t, base: *c.bases[i].Load(), key: c.key, http: c.http}
}

// post sends a message over REST, to one server after the other until it is taken.
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
			c.t.Errorf("posting %q: %d: %s", content, status, answer)
			return
		}
		c.refusals.Add(1)
		pause(ctx, senderPace)
	}
}

// pause waits, as a client does before it tries again.
func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-time.After(duration):
	case <-ctx.Done():
	}
}

// load sends and cuts until the load is over, and then returns.
func (c *chaos) load(ctx, over context.Context, seed uint64) {
	var all sync.WaitGroup
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
		if talk.devices[random.IntN(chaosDevice)].say(ctx, name) {
			c.spoken.Add(1)
		}
	})
	pacing(3, cutterPace, func(_ string, talk *chaosTalk, random *rand.Rand) {
		talk.devices[random.IntN(chaosDevice)].cut(random)
	})
	all.Wait()
}

// start makes the conversations, a few at once.
func (c *chaos) start(bots int) {
	c.talks = make([]*chaosTalk, chaosTalks)
	var all sync.WaitGroup
	for from := range fewAtOnce {
		all.Go(func() {
			for i := from; i < chaosTalks; i += fewAtOnce {
				talk := &chaosTalk{said: map[string]string{}}
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

// check holds what the devices have and what was acknowledged against what is stored, and returns how much that is.
func (c *chaos) check() (stored, answers int) {
	for i, talk := range c.talks {
		var ids []string
		for j, one := range c.client(i % 2).messages(talk.id) {
			if one.Seq != int64(j+1) {
				c.t.Errorf("conversation %d: message %d has the seq %d", i, j+1, one.Seq)
			}
			ids = append(ids, one.ID)
			if one.Type == "outgoing" {
				answers++
				continue
			}
			if talk.said[one.Content] != one.ID {
				c.t.Errorf("conversation %d: %q is stored as %s, acknowledged as %q, or twice", i, one.Content, one.ID, talk.said[one.Content])
			}
			delete(talk.said, one.Content)
		}
		stored += len(ids)
		if len(talk.said) > 0 {
			c.t.Errorf("conversation %d: lost are %v", i, talk.said)
		}
		for _, one := range talk.devices {
			if !slices.Equal(one.got, ids) {
				c.t.Errorf("%s has %v, stored are %v", one.name, one.got, ids)
			}
		}
	}
	return stored, answers
}

// Not parallel: it is as much work as the machine has to give.
func TestEachDeviceHasEachMessageOnceWhateverHappens(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given three devices in each of many conversations, at two servers
	redis := redistest.Start(t)
	environment := []string{"REDIS_URL=" + redis.URL, "PARLEY_SOCKET_LIMITS=user=0,address=0"}
	p := servingPair(t, environment...)
	servers := [2]*process{p.first, p.second}
	c := &chaos{
		t: t, key: p.first.key, opening: make(chan struct{}, fewAtOnce),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * fewAtOnce}},
	}
	for i, one := range servers {
		c.bases[i].Store(&one.base)
	}
	c.start(chaosBots)
	ctx, cancel := context.WithCancel(t.Context())
	var devices, load sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		load.Wait()
		devices.Wait()
		c.http.CloseIdleConnections()
	})
	for i, talk := range c.talks {
		for j, one := range talk.devices {
			devices.Go(func() { one.live(ctx, rand.New(rand.NewPCG(seed, uint64(4<<32+i*chaosDevice+j)))) })
		}
	}
	within(t, time.Minute, "all links", func() bool { return c.links.Load() == chaosTalks*chaosDevice })

	// when messages are sent and links are cut at random, while Redis is emptied, ends and comes
	// back with nothing, and one of the servers ends and comes back
	over, end := context.WithTimeout(ctx, chaosTime)
	defer end()
	load.Go(func() { c.load(ctx, over, seed) })
	part := chaosTime / 6
	<-time.After(part)
	redis.Flush()
	<-time.After(part)
	redis.Stop()
	<-time.After(part)
	redis.Start()
	<-time.After(part)
	i, isKilled := random.IntN(2), random.IntN(2) == 0
	if isKilled {
		servers[i].kill()
	} else {
		servers[i].stop()
	}
	servers[i] = serving(t, newDir(t), append(environment, "DATABASE_URL="+p.address)...)
	c.bases[i].Store(&servers[i].base)
	load.Wait()

	// then, when all is answered, each device soon has all that is stored, in its order and once
	within(t, time.Minute, "the end of all runs", func() bool {
		return number(t, p.conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})
	began := time.Now()
	for _, talk := range c.talks {
		n := number(t, p.conn, "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = $1", talk.id)
		for _, one := range talk.devices {
			within(t, chaosCatch-time.Since(began), one.name+" to catch up", func() bool { return one.isAt(n) })
		}
	}
	caught := time.Since(began)
	cancel()
	devices.Wait()
	stored, answers := c.check()
	t.Logf("server %d ended, killed: %t; %d messages: %d over REST, %d over sockets, %d answers; %d cuts, %d resumes, %d refusals; caught up in %s",
		i, isKilled, stored, c.posted.Load(), c.spoken.Load(), answers, c.cuts.Load(), c.links.Load()-chaosTalks*chaosDevice, c.refusals.Load(), caught)
	if stored < 1000 || answers == 0 || c.cuts.Load() < 300 {
		t.Error("that is too little to tell anything")
	}
	servers[0].stop()
	servers[1].stop()
}
