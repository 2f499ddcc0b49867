package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

const (
	// outboxLimit bounds the hints that wait to be sent; what is beyond is dropped, and
	// found by who looks.
	outboxLimit = 10_000
	// hintBatch bounds the hints of one message.
	hintBatch = 500
	// idleTime is how long nothing may be heard before the connection is tried.
	idleTime = 5 * time.Second
	// rejoinPause is between two tries to listen again.
	rejoinPause = 100 * time.Millisecond
)

// Hint says that something has happened of which another process may want to know, and
// where to look for it. Hints of one kind, topic and id are one: the number is then
// the largest.
type Hint struct {
	Kind   string    `json:"k"`
	Topic  uuid.UUID `json:"t"`
	ID     uuid.UUID `json:"i,omitzero"`
	Number int64     `json:"n,omitzero"`
}

// letter is what goes over the channel.
type letter struct {
	From  uuid.UUID `json:"from"`
	Hints []Hint    `json:"hints"`
}

// outbox holds the hints that wait to be sent, in the order of their first telling.
type outbox struct {
	mu    sync.Mutex
	hints []Hint
	index map[Hint]int // by the hint without its number
	wake  chan struct{}
}

func (o *outbox) add(hint Hint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := hint
	key.Number = 0
	if at, ok := o.index[key]; ok {
		o.hints[at].Number = max(o.hints[at].Number, hint.Number)
		return
	}
	if len(o.hints) >= outboxLimit {
		return
	}
	if o.index == nil {
		o.index = make(map[Hint]int)
	}
	o.index[key] = len(o.hints)
	o.hints = append(o.hints, hint)
	select {
	case o.wake <- struct{}{}:
	default: // it is awake
	}
}

func (o *outbox) take() []Hint {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.hints
	o.hints, o.index = nil, nil
	return taken
}

// Tell gives a hint to the other processes. It never waits; what comes together is
// sent together. A nil Link tells nobody.
func (l *Link) Tell(hint Hint) {
	if l == nil || l.isAway.Load() {
		return
	}
	l.hints.add(hint)
}

func (l *Link) channel() string { return l.prefix + "hints" }

func (l *Link) sendHints(ctx context.Context) {
	for isLast := false; !isLast; {
		select {
		case <-ctx.Done():
			isLast = true // what was told so far is still sent
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), commandTime)
			defer cancel()
		case <-l.hints.wake:
		}
		for hints := l.hints.take(); len(hints) > 0; {
			some := hints[:min(len(hints), hintBatch)]
			hints = hints[len(some):]
			data, err := json.Marshal(letter{From: l.self, Hints: some})
			if err != nil {
				panic(err) // plain structs
			}
			// What is not sent is found by those who look, as the log says by then.
			_ = l.Do(ctx, func(ctx context.Context, client *redis.Client) error {
				return client.Publish(ctx, l.channel(), data).Err()
			})
		}
	}
}

// Listen hears the hints of the other processes until ctx is done. heard gets them as
// they come and must not wait; missed is called whenever some may have been lost, at
// the beginning too. Both are called by this goroutine alone.
func (l *Link) Listen(ctx context.Context, heard func([]Hint), missed func()) {
	for ctx.Err() == nil {
		l.listen(ctx, heard, missed)
		select {
		case <-ctx.Done():
		case <-time.After(rejoinPause):
		}
	}
}

// listen hears hints until the connection breaks.
func (l *Link) listen(ctx context.Context, heard func([]Hint), missed func()) {
	subscription := l.client.Subscribe(ctx, l.channel())
	defer func() { _ = subscription.Close() }()
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })() // else it would wait on
	isIdle := false
	for {
		received, err := subscription.ReceiveTimeout(ctx, idleTime)
		if err != nil {
			timeout, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err)
			if !ok || !timeout.Timeout() || isIdle || subscription.Ping(ctx) != nil {
				return
			}
			isIdle = true // the next thing to come is the answer to the ping
			continue
		}
		isIdle = false
		switch received := received.(type) {
		case *redis.Subscription:
			l.look(ctx) // it is there: what is missed can be made good at once
			missed()
		case *redis.Message:
			var got letter
			if err := json.Unmarshal([]byte(received.Payload), &got); err != nil {
				missed() // of a newer version, perhaps
			} else if got.From != l.self {
				heard(got.Hints)
			}
		}
	}
}
