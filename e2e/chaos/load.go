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

// loadJob configures the load generator process.
type loadJob struct {
	Bases         [2]string // the URLs of the servers
	Key           string
	Seed          uint64
	Journal       string
	Conversations []conversation
	Devices       int           // per conversation
	Senders       int           // of each kind over REST
	Pace          time.Duration // mean pause between two requests of a client
}

// conversation is a conversation under load.
type conversation struct {
	ID  string
	Bot string // the bot that answers; empty: none
}

// catchUp is the last seq of each conversation, which each device must have received at the end.
type catchUp struct{ Seqs map[string]int64 }

const (
	requestTimeout = 8 * time.Second        // after that, a client tries the other server
	retryPause     = 100 * time.Millisecond // the pause before a client tries the other server
	silenceLimit   = 4 * time.Second        // a connection without data for longer counts as broken
	catchUpTime    = 20 * time.Second
)

// load is the set of clients.
type load struct {
	loadJob
	journal *journal
	http    *http.Client    // for requests that are answered immediately
	streams *http.Client    // without a timeout
	sending context.Context // done when no new requests are to be sent
	dialing chan struct{}   // bounds the number of sockets that are opened concurrently
}

// runLoad is the load generator process. It answers true after each phase:
//
//  1. job received: all devices are connected, and sending begins
//  2. true received: sending has ended, and every request is answered
//  3. catchUp received: the devices have caught up, or their time is over
func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	phases, done := json.NewDecoder(in), json.NewEncoder(out)
	var l load
	if err := phases.Decode(&l.loadJob); err != nil {
		return err
	}
	var err error
	if l.journal, err = openJournal(l.Journal); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	l.http, l.streams = &http.Client{Transport: transport, Timeout: requestTimeout}, &http.Client{Transport: transport}
	l.dialing = make(chan struct{}, 8)
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	l.sending = sending
	receiving, stopReceiving := context.WithCancel(ctx)
	defer stopReceiving()

	var receivers, senders sync.WaitGroup
	devices := l.startDevices(receiving, &receivers)
	if err := waitFor(ctx, time.Minute, "connect all devices", func() error { return checkAll(devices, (*device).isConnected) }); err != nil {
		return err
	}
	if err := done.Encode(true); err != nil {
		return err
	}
	l.startSenders(&senders, devices)

	var end bool
	if err := phases.Decode(&end); err != nil {
		return err
	}
	stopSending()
	senders.Wait()
	if err := done.Encode(true); err != nil {
		return err
	}
	var last catchUp
	if err := phases.Decode(&last); err != nil {
		return err
	}
	// The checker reports devices that did not catch up.
	_ = waitFor(ctx, catchUpTime, "catch up", func() error {
		return checkAll(devices, func(d *device) bool { return d.hasReceived(last.Seqs[d.conversation.ID]) })
	})
	stopReceiving()
	receivers.Wait()
	return errors.Join(l.journal.close(), done.Encode(true))
}

func checkAll(devices []*device, condition func(*device) bool) error {
	for _, d := range devices {
		if !condition(d) {
			return errors.New("device " + d.name + " is behind")
		}
	}
	return nil
}

// random returns a generator that the seed determines.
func (l *load) random(kind, number int) *rand.Rand {
	return rand.New(rand.NewPCG(l.Seed, uint64(kind)<<32+uint64(number)))
}

// startDevices connects the devices of all conversations, to both servers in turn.
func (l *load) startDevices(ctx context.Context, receivers *sync.WaitGroup) (devices []*device) {
	for i, c := range l.Conversations {
		for n := range l.Devices {
			d := &device{load: l, conversation: c, name: fmt.Sprintf("%d-%d", i, n), preferred: (i + n) % 2}
			devices = append(devices, d)
			receivers.Go(func() { d.run(ctx, l.random(1, i*100+n)) })
		}
	}
	return devices
}

// startSenders starts everything that sends until the sending context is done. Each sender sends
// numbered messages, so that every content is unique.
func (l *load) startSenders(senders *sync.WaitGroup, devices []*device) {
	start := func(kind, number int, send func(content string, random *rand.Rand)) {
		senders.Go(func() {
			random := l.random(kind, number)
			for n := 0; l.sending.Err() == nil; n++ {
				send(fmt.Sprintf("%d-%d-%d", kind, number, n), random)
				_ = sleep(l.sending, l.Pace/2+time.Duration(random.Int64N(int64(l.Pace))))
			}
		})
	}
	var unanswered, answered []conversation
	for _, c := range l.Conversations {
		if c.Bot == "" {
			unanswered = append(unanswered, c)
		} else {
			answered = append(answered, c)
		}
	}
	for i := range l.Senders {
		start(2, i, func(content string, random *rand.Rand) {
			l.sendMessage(unanswered[random.IntN(len(unanswered))], content, true, random)
		})
		start(3, i, func(content string, random *rand.Rand) {
			l.sendMessage(unanswered[random.IntN(len(unanswered))], content, false, random)
		})
	}
	start(4, 0, func(content string, random *rand.Rand) { l.startConversation(content, random) })
	start(5, 0, func(_ string, random *rand.Rand) {
		l.browse(l.Conversations[random.IntN(len(l.Conversations))], random)
	})
	start(8, 0, func(_ string, random *rand.Rand) { devices[random.IntN(len(devices))].disconnect() })
	for i, c := range answered {
		start(6, i, func(content string, random *rand.Rand) {
			switch random.IntN(3) {
			case 0:
				l.complete(c, content, random)
			case 1:
				l.sendMessage(c, content, true, random)
			default:
				l.stream(c, content, random)
			}
		})
	}
	l.startDeviceSenders(senders, devices)
}

// startDeviceSenders lets every device send over its socket. Devices of conversations with a bot
// send less, since their messages would only wait in the queue of replies.
func (l *load) startDeviceSenders(senders *sync.WaitGroup, devices []*device) {
	for i, d := range devices {
		pace := 10 * l.Pace
		if d.conversation.Bot != "" {
			pace *= 10
		}
		senders.Go(func() {
			random := l.random(7, i)
			for n := 0; l.sending.Err() == nil; n++ {
				_ = sleep(l.sending, pace/2+time.Duration(random.Int64N(int64(pace))))
				d.send(fmt.Sprintf("7-%d-%d", i, n))
			}
			d.awaitAcknowledgement()
		})
	}
}

// recordFailure records a failed request. A closed connection, a timeout and the statuses 409, 502,
// 503 and 504 are allowed; any other status is a violation.
func (l *load) recordFailure(what, conversation, content string, status int, received []byte, err error) {
	e := entry{Kind: kindRefused, Conversation: conversation, Content: content, Why: reason(status, err)}
	switch status {
	case 0, http.StatusConflict, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		e.Kind, e.Why = kindViolation, fmt.Sprintf("%s: status %d: %s", what, status, received)
	}
	l.journal.add(e)
}

func reason(status int, err error) string {
	var timeout net.Error
	switch {
	case status != 0:
		return fmt.Sprint(status)
	case errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	}
	return "cut off"
}
