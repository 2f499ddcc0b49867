package realtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// lookInterval is how soon it is noticed that Redis has gone or is back, where no
	// command notices before.
	lookInterval = 500 * time.Millisecond
	// commandTime is how long a command may take before Redis counts as away.
	commandTime = time.Second
)

// ErrAway is that Redis cannot be used at the moment. It is told at once: nobody waits
// for a Redis that is known to be away.
var ErrAway = errors.New("redis is away")

// Link joins this process with the others that use the same Redis and the same number
// of database in it. It is safe for concurrent use.
//
// While Redis is away every command is ErrAway, and hints are dropped; the link comes
// back by itself. The log tells each once.
type Link struct {
	client *redis.Client
	log    *slog.Logger
	self   uuid.UUID // which process sends a hint
	prefix string    // of what databases do not keep apart: channels
	isAway atomic.Bool
	losses atomic.Int64 // how often it went away

	hints outbox

	stop    context.CancelFunc
	working sync.WaitGroup
}

// CheckURL tells whether Open can read an address. Its error does not repeat the
// address, which may hold a password.
func CheckURL(address string) error {
	if _, err := redis.ParseURL(address); err != nil {
		return errors.New("it is no address of Redis, such as redis://user:password@host:6379/0, or rediss:// for TLS")
	}
	return nil
}

// Open begins to use the Redis at a URL: redis://, rediss:// for TLS, or unix://. It
// is no error that Redis cannot be reached. Close ends it.
func Open(ctx context.Context, address string, log *slog.Logger) (*Link, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, CheckURL(address)
	}
	logging.Disable() // what is to be said of it is said here
	options.DialTimeout = cmp.Or(options.DialTimeout, commandTime)
	options.ReadTimeout = cmp.Or(options.ReadTimeout, commandTime)
	options.WriteTimeout = cmp.Or(options.WriteTimeout, commandTime)
	options.ContextTimeoutEnabled = true
	// One more try, for the connections that broke when Redis was started anew; then it is away.
	options.MaxRetries, options.DialerRetries = 1, 1
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	working, stop := context.WithCancel(context.WithoutCancel(ctx)) // it lives until Close
	l := &Link{
		client: redis.NewClient(options),
		log:    log,
		self:   uuid.New(),
		prefix: "parley:" + strconv.Itoa(options.DB) + ":",
		stop:   stop,
	}
	l.hints.wake = make(chan struct{}, 1)
	l.look(ctx)
	l.working.Go(func() { l.attend(working) })
	l.working.Go(func() { l.sendHints(working) })
	return l, nil
}

// Close ends the link when what was told is sent.
func (l *Link) Close() {
	l.stop()
	l.working.Wait()
	_ = l.client.Close() // nothing is left that could be lost
}

// IsAway tells whether Redis was away when last seen.
func (l *Link) IsAway() bool { return l.isAway.Load() }

// Losses tells how often Redis has gone away.
func (l *Link) Losses() int64 { return l.losses.Load() }

// Do runs commands. Where Redis is away, or proves to be, the error is ErrAway; what
// it answers that is no failure, such as redis.Nil, comes back as it is.
func (l *Link) Do(ctx context.Context, commands func(ctx context.Context, client *redis.Client) error) error {
	if l.isAway.Load() {
		return ErrAway
	}
	err := commands(ctx, l.client)
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, redis.TxFailedErr), errors.Is(err, errRefused):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("ask redis: %w", err)
	}
	l.lost(err)
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// attend looks whether Redis is there until ctx is done.
func (l *Link) attend(ctx context.Context) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.look(ctx)
		}
	}
}

// look tries to write: a Redis that only reads, or is full, is of no use.
func (l *Link) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	err := l.client.Set(limited, "parley:instance:"+l.self.String(), 1, 10*lookInterval).Err()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.lost(err)
	case l.isAway.CompareAndSwap(true, false):
		l.log.Info("redis is back: the instances work as one again")
	}
}

func (l *Link) lost(err error) {
	if l.isAway.CompareAndSwap(false, true) {
		l.losses.Add(1)
		l.log.Error("redis is away: limits and anonymous visits are each instance's own, and what other instances do is heard seconds later, until it is back",
			"error", err)
	}
}
