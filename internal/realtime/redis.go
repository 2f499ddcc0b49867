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
	// probeInterval is the time after which an outage or its end is detected even if no command is sent.
	probeInterval = 500 * time.Millisecond
	// commandTimeout is the time after which Redis counts as unavailable if a command has no response.
	commandTimeout = time.Second
)

// ErrUnavailable is returned while Redis cannot be used. After an outage has been detected, it is returned
// immediately: no caller waits for a Redis that is known to be unavailable.
var ErrUnavailable = errors.New("redis is unavailable")

// Redis connects this instance with the others that use the same Redis and the same
// database number in it. It is safe for concurrent use.
//
// While Redis is unavailable every command returns ErrUnavailable and notifications are
// dropped. Recovery is automatic. The log reports each outage and its end once.
type Redis struct {
	client        *redis.Client
	log           *slog.Logger
	instance      uuid.UUID // identifies the sender of notifications
	channelPrefix string    // channels are not separated by database number; this does it

	unavailable atomic.Bool
	outages     atomic.Int64

	outbox outbox

	stop       context.CancelFunc
	background sync.WaitGroup // probeLoop and sendNotifications
}

// CheckURL reports whether Open can use a URL. Its error does not repeat the URL, which
// may hold a password.
func CheckURL(address string) error {
	if _, err := redis.ParseURL(address); err != nil {
		return errors.New("must be a Redis URL, such as redis://user:password@host:6379/0, or rediss:// for TLS")
	}
	return nil
}

// Open connects to the Redis at a URL: redis://, rediss:// for TLS, or unix://. A Redis
// that cannot be reached is not an error. Close releases it.
func Open(ctx context.Context, address string, log *slog.Logger) (*Redis, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, CheckURL(address)
	}
	logging.Disable() // this package logs outages itself
	options.DialTimeout = cmp.Or(options.DialTimeout, commandTimeout)
	options.ReadTimeout = cmp.Or(options.ReadTimeout, commandTimeout)
	options.WriteTimeout = cmp.Or(options.WriteTimeout, commandTimeout)
	options.ContextTimeoutEnabled = true
	// One retry covers pooled connections that broke when Redis restarted.
	options.MaxRetries, options.DialerRetries = 1, 1
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	background, stop := context.WithCancel(context.WithoutCancel(ctx)) // until Close
	r := &Redis{
		client:        redis.NewClient(options),
		log:           log,
		instance:      uuid.New(),
		channelPrefix: "parley:" + strconv.Itoa(options.DB) + ":",
		stop:          stop,
	}
	r.outbox.wake = make(chan struct{}, 1)
	r.probe(ctx)
	r.background.Go(func() { r.probeLoop(background) })
	r.background.Go(func() { r.sendNotifications(background) })
	return r, nil
}

// Close sends the notifications that wait, stops the background goroutines and closes the
// connections.
func (r *Redis) Close() {
	r.stop()
	r.background.Wait()
	_ = r.client.Close() // nothing can be lost afterwards
}

// Unavailable reports whether the last command or probe failed.
func (r *Redis) Unavailable() bool { return r.unavailable.Load() }

// Outages returns the number of detected outages since Open.
func (r *Redis) Outages() int64 { return r.outages.Load() }

// Do executes commands. It returns ErrUnavailable if Redis is unavailable, or if a command shows that it is.
// Responses that are not failures, such as redis.Nil, are returned unchanged.
func (r *Redis) Do(ctx context.Context, commands func(ctx context.Context, client *redis.Client) error) error {
	if r.unavailable.Load() {
		return ErrUnavailable
	}
	err := commands(ctx, r.client)
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, redis.TxFailedErr), errors.Is(err, errRejected):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("run redis commands: %w", err)
	}
	r.markUnavailable(err)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// probeLoop probes Redis until ctx is done.
func (r *Redis) probeLoop(ctx context.Context) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.probe(ctx)
		}
	}
}

// probe writes a value: a Redis that is read-only or full counts as unavailable.
func (r *Redis) probe(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err := r.client.Set(limited, "parley:instance:"+r.instance.String(), 1, 10*probeInterval).Err()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.markUnavailable(err)
	case r.unavailable.CompareAndSwap(true, false):
		r.log.Info("redis available again: instances are connected")
	}
}

func (r *Redis) markUnavailable(err error) {
	if r.unavailable.CompareAndSwap(false, true) {
		r.outages.Add(1)
		r.log.Error("redis unavailable: rate limits and anonymous visits are per instance, and events of other instances arrive seconds late",
			"err", err)
	}
}
