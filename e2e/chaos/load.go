package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// job is what the process of the load does: at either server, until it is told to rest.
type job struct {
	Bases   [2]string
	Key     string
	Seed    uint64
	Journal string
	Talks   []talk
	Devices int // for each conversation
	Senders int // of each kind over REST
	// Pace is how long a client rests between two of its messages.
	Pace time.Duration
}

// talk is a conversation that is under load.
type talk struct {
	Conversation string
	Bot          string // who answers; empty: nobody does
}

// rest says what the devices of each conversation must come to.
type rest struct{ Seqs map[string]int64 }

const (
	requestTime = 8 * time.Second        // a client gives a request up and asks the other server
	retryPause  = 100 * time.Millisecond // before it does
	silenceTime = 4 * time.Second        // without a word a link counts as broken
	catchUpTime = 20 * time.Second
)

// load is the clients.
type load struct {
	job
	journal *journal
	http    *http.Client // for requests that are answered at once
	streams *http.Client
	resting context.Context // done when nothing new is to be said
	opening chan struct{}   // has a place for each link that may be opened at once
}

// runLoad does a job: it says when all devices are connected, sends until it is told to
// rest, says when all is answered, waits until the devices have come as far as they
// should, and says so.
func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	orders, told := json.NewDecoder(in), json.NewEncoder(out)
	var l load
	if err := orders.Decode(&l.job); err != nil {
		return err
	}
	var err error
	if l.journal, err = openJournal(l.Journal); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	l.http, l.streams = &http.Client{Transport: transport, Timeout: requestTime}, &http.Client{Transport: transport}
	l.opening = make(chan struct{}, 8)
	resting, startRest := context.WithCancel(ctx)
	defer startRest()
	l.resting = resting
	listening, stopListening := context.WithCancel(ctx)
	defer stopListening()

	var devices []*device
	var ears, mouths sync.WaitGroup
	for i, one := range l.Talks {
		for n := range l.Devices {
			d := &device{load: &l, talk: one, name: fmt.Sprintf("%d-%d", i, n), prefers: (i + n) % 2}
			devices = append(devices, d)
			ears.Go(func() { d.live(listening, l.random(1, i*100+n)) })
		}
	}
	if err := until(ctx, time.Minute, "connect all devices", func() error { return allOf(devices, (*device).isConnected) }); err != nil {
		return err
	}
	if err := told.Encode(true); err != nil {
		return err
	}
	l.send(&mouths, devices)

	var end bool
	if err := orders.Decode(&end); err != nil {
		return err
	}
	startRest()
	mouths.Wait()
	if err := told.Encode(true); err != nil {
		return err
	}
	var wanted rest
	if err := orders.Decode(&wanted); err != nil {
		return err
	}
	// Whether they have is judged by the journal.
	_ = until(ctx, catchUpTime, "catch up", func() error {
		return allOf(devices, func(d *device) bool { return d.isAt(wanted.Seqs[d.talk.Conversation]) })
	})
	stopListening()
	ears.Wait()
	return errors.Join(l.journal.close(), told.Encode(true))
}

func allOf(devices []*device, hold func(*device) bool) error {
	for _, one := range devices {
		if !hold(one) {
			return errors.New("device " + one.name + " is behind")
		}
	}
	return nil
}

func (l *load) random(kind, number int) *rand.Rand {
	return rand.New(rand.NewPCG(l.Seed, uint64(kind)<<32+uint64(number)))
}

// send begins all that is said until the rest.
func (l *load) send(all *sync.WaitGroup, devices []*device) {
	begin := func(kind, number int, say func(content string, random *rand.Rand)) {
		all.Go(func() {
			random := l.random(kind, number)
			for n := 0; l.resting.Err() == nil; n++ {
				say(fmt.Sprintf("%d-%d-%d", kind, number, n), random)
				_ = pause(l.resting, l.Pace/2+time.Duration(random.Int64N(int64(l.Pace))))
			}
		})
	}
	var silent, answered []talk
	for _, one := range l.Talks {
		if one.Bot == "" {
			silent = append(silent, one)
		} else {
			answered = append(answered, one)
		}
	}
	for i := range l.Senders {
		begin(2, i, func(content string, random *rand.Rand) {
			l.post(silent[random.IntN(len(silent))], content, true, random)
		})
		begin(3, i, func(content string, random *rand.Rand) {
			l.post(silent[random.IntN(len(silent))], content, false, random)
		})
	}
	begin(4, 0, func(content string, random *rand.Rand) { l.start(content, random) })
	begin(5, 0, func(_ string, random *rand.Rand) { l.look(l.Talks[random.IntN(len(l.Talks))], random) })
	begin(8, 0, func(_ string, random *rand.Rand) { devices[random.IntN(len(devices))].cut() })
	for i, one := range answered {
		begin(6, i, func(content string, random *rand.Rand) {
			switch random.IntN(3) {
			case 0:
				l.complete(one, content, random)
			case 1:
				l.post(one, content, true, random)
			default:
				l.stream(one, content, random)
			}
		})
	}
	for i, one := range devices {
		// Where each message is answered, more would only wait in the queue.
		pace := 10 * l.Pace
		if one.talk.Bot != "" {
			pace *= 10
		}
		all.Go(func() {
			random := l.random(7, i)
			for n := 0; l.resting.Err() == nil; n++ {
				_ = pause(l.resting, pace/2+time.Duration(random.Int64N(int64(pace))))
				one.say(fmt.Sprintf("7-%d-%d", i, n))
			}
			one.awaitAnswer()
		})
	}
}

// refused notes that a request was not answered as it should be. What is neither a refusal
// that passes nor the end of a connection must never come.
func (l *load) refused(what, conversation, content string, status int, said []byte, err error) {
	one := entry{Kind: wasRefused, Conversation: conversation, Content: content, Why: whyOf(status, err)}
	switch status {
	case 0, http.StatusConflict, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		one.Kind, one.Why = didBreak, fmt.Sprintf("%s: %d: %s", what, status, said)
	}
	l.journal.add(one)
}

func whyOf(status int, err error) string {
	var timeout net.Error
	switch {
	case status != 0:
		return fmt.Sprint(status)
	case errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	}
	return "cut off"
}
