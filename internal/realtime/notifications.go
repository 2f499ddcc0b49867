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
	// outboxLimit bounds the notifications that wait to be sent. Further ones are dropped; the receivers find the
	// changes by polling.
	outboxLimit = 10_000
	// batchLimit bounds the notifications of one Redis message.
	batchLimit = 500
	// idleTimeout is how long a subscribed connection may be silent before it is pinged.
	idleTimeout = 5 * time.Second
	// resubscribePause is the pause between two attempts to subscribe.
	resubscribePause = 100 * time.Millisecond
)

// Notification informs other instances that something changed, and where to look for it.
// While they wait to be sent, notifications that differ only in Number are coalesced into
// the one with the largest Number.
type Notification struct {
	Kind   string    `json:"k"`
	Topic  uuid.UUID `json:"t"`
	ID     uuid.UUID `json:"i,omitzero"`
	Number int64     `json:"n,omitzero"`
}

// envelope is one message on the Redis channel. Instances of all versions share its JSON.
type envelope struct {
	From          uuid.UUID      `json:"from"`
	Notifications []Notification `json:"hints"`
}

// outbox holds the notifications that wait to be sent, in the order of their first
// publication. It is safe for concurrent use.
type outbox struct {
	mu      sync.Mutex
	waiting []Notification
	index   map[Notification]int // position in waiting, by the notification without its Number
	wake    chan struct{}        // has room for one value: set when waiting stops being empty
}

func (o *outbox) add(notification Notification) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := notification
	key.Number = 0
	if i, ok := o.index[key]; ok {
		o.waiting[i].Number = max(o.waiting[i].Number, notification.Number)
		return
	}
	if len(o.waiting) >= outboxLimit {
		return
	}
	if o.index == nil {
		o.index = make(map[Notification]int)
	}
	o.index[key] = len(o.waiting)
	o.waiting = append(o.waiting, notification)
	select {
	case o.wake <- struct{}{}:
	default: // the sender is awake
	}
}

func (o *outbox) take() []Notification {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.waiting
	o.waiting, o.index = nil, nil
	return taken
}

// Publish sends a notification to the other instances, at most once: it is lost if Redis
// is unavailable or the outbox is full. Publish never blocks. Notifications that wait
// together are sent together. On a nil Redis it does nothing.
func (r *Redis) Publish(notification Notification) {
	if r == nil || r.unavailable.Load() {
		return
	}
	r.outbox.add(notification)
}

func (r *Redis) channel() string { return r.channelPrefix + "hints" }

// sendNotifications drains the outbox until ctx is done, and once more after that.
func (r *Redis) sendNotifications(ctx context.Context) {
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
			defer cancel()
		case <-r.outbox.wake:
		}
		for waiting := r.outbox.take(); len(waiting) > 0; {
			batch := waiting[:min(len(waiting), batchLimit)]
			waiting = waiting[len(batch):]
			data, err := json.Marshal(envelope{From: r.instance, Notifications: batch})
			if err != nil {
				panic(err) // plain structs
			}
			// A failure marks Redis unavailable, which is logged. Polling finds the changes of lost notifications.
			_ = r.Do(ctx, func(ctx context.Context, client *redis.Client) error {
				return client.Publish(ctx, r.channel(), data).Err()
			})
		}
	}
}

// Subscribe receives the notifications of the other instances until ctx is done, and
// subscribes again whenever the connection breaks.
//
// It calls receive with notifications as they arrive, and missed whenever some may have
// been lost: after every subscription, the first included. Both run on the calling
// goroutine, one at a time, and must not block.
func (r *Redis) Subscribe(ctx context.Context, receive func([]Notification), missed func()) {
	for ctx.Err() == nil {
		r.receiveUntilBroken(ctx, receive, missed)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribePause):
		}
	}
}

// receiveUntilBroken subscribes once and returns when the connection breaks. A silent
// connection is pinged; it is broken if the answer does not arrive in time.
func (r *Redis) receiveUntilBroken(ctx context.Context, receive func([]Notification), missed func()) {
	subscription := r.client.Subscribe(ctx, r.channel())
	defer func() { _ = subscription.Close() }()
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })() // unblocks the read
	isPinged := false
	for {
		received, err := subscription.ReceiveTimeout(ctx, idleTimeout)
		if err != nil {
			timeout, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err)
			if !ok || !timeout.Timeout() || isPinged || subscription.Ping(ctx) != nil {
				return
			}
			isPinged = true
			continue
		}
		isPinged = false
		switch received := received.(type) {
		case *redis.Subscription:
			r.probe(ctx) // so that the subscriber can catch up from Redis at once
			missed()
		case *redis.Message:
			var got envelope
			if err := json.Unmarshal([]byte(received.Payload), &got); err != nil {
				missed() // possibly from an instance of a newer version
			} else if got.From != r.instance {
				receive(got.Notifications)
			}
		}
	}
}
