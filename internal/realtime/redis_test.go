package realtime_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
	"parley/internal/redistest"
)

// waitLimit bounds every wait.
const waitLimit = 20 * time.Second

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func open(t testing.TB, address string) (*realtime.Redis, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	r, err := realtime.Open(t.Context(), address, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, log
}

// subscriber collects what one instance receives.
type subscriber struct {
	notifications chan realtime.Notification
	missed        chan struct{}
}

// subscribe returns once the instance is subscribed.
func subscribe(t testing.TB, r *realtime.Redis) subscriber {
	t.Helper()
	s := subscriber{notifications: make(chan realtime.Notification, 10_000), missed: make(chan struct{}, 100)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Subscribe(ctx, func(notifications []realtime.Notification) {
			for _, notification := range notifications {
				s.notifications <- notification
			}
		}, func() { s.missed <- struct{}{} })
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	next(t, s.missed)
	return s
}

func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(waitLimit):
		t.Fatal("nothing was received in time")
		panic("unreachable")
	}
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(waitLimit); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatal("timed out waiting until ", what)
		}
	}
}

func TestNotificationsReachOtherInstances(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	otherDatabase, _ := open(t, redis.URL+"?db=7")
	visit, resumed, elsewhere := subscribe(t, first), subscribe(t, second), subscribe(t, otherDatabase)
	topic := uuid.New()
	for n := range int64(1000) {
		first.Publish(realtime.Notification{Kind: "message", Topic: topic, Number: n})
	}
	first.Publish(realtime.Notification{Kind: "run", Topic: topic, ID: uuid.New()})
	last := int64(-1)
	for got := next(t, resumed.notifications); got.Kind != "run"; got = next(t, resumed.notifications) {
		if got.Topic != topic || got.Number < last {
			t.Errorf("received %+v after number %d", got, last)
		}
		last = got.Number
	}
	second.Publish(realtime.Notification{Kind: "end"})
	if got := next(t, visit.notifications); got.Kind != "end" {
		t.Errorf("an instance received its own notification: %+v", got)
	}
	if last < 0 || len(elsewhere.notifications) > 0 {
		t.Errorf("last number %d; an instance on another database received %d notifications", last, len(elsewhere.notifications))
	}
}

func TestRedisRecoversFromOutages(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, log := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	resumed := subscribe(t, second)
	for round := 1; round <= 2; round++ {
		redis.Stop()
		eventually(t, "the outage is noticed", first.Unavailable)
		for range 10 {
			if _, err := first.Get(t.Context(), "x", time.Minute); !errors.Is(err, realtime.ErrUnavailable) {
				t.Errorf("get during the outage: %v", err)
			}
		}
		redis.Start()
		next(t, resumed.missed)
		eventually(t, "the recovery is noticed", func() bool { return !first.Unavailable() })
		first.Publish(realtime.Notification{Kind: "hello", Number: int64(round)})
		if got := next(t, resumed.notifications); got.Number != int64(round) {
			t.Errorf("received %+v, want number %d", got, round)
		}
		if log.count("redis unavailable") != round || log.count("redis available") != round || first.Outages() != int64(round) {
			t.Errorf("after outage %d, %d were counted and the log is %s", round, first.Outages(), log.text.String())
		}
	}
}

func TestOpenSucceedsDuringAnOutage(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Stop()
	r, log := open(t, redis.URL)
	if !r.Unavailable() || log.count("redis unavailable") != 1 {
		t.Error("the outage is not reported")
	}
	redis.Start()
	eventually(t, "the recovery is noticed", func() bool { return !r.Unavailable() })
}

func TestOpenRejectsInvalidURLs(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:6379", "http://localhost", "redis://u:secret@host:x/", "redis://host/0/1"} {
		if _, err := realtime.Open(t.Context(), address, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestTextsAreAppendedAndRead(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	writer, _ := open(t, redis.URL)
	reader, _ := open(t, redis.URL)
	key := realtime.TextKey{Run: uuid.New(), Attempt: 2}
	write := func(offset int, text string, applied bool) {
		t.Helper()
		got, err := writer.AppendTexts(t.Context(), []realtime.TextAppend{{TextKey: key, Offset: offset, Text: text}})
		if err != nil || got[0] != applied {
			t.Errorf("applied %v, %v", got, err)
		}
	}
	read := func(offset int, want string) {
		t.Helper()
		other := realtime.TextPosition{TextKey: realtime.TextKey{Run: key.Run, Attempt: 1}}
		got, err := reader.ReadTexts(t.Context(), []realtime.TextPosition{{TextKey: key, Offset: offset}, other})
		if err != nil || got[0] != want || got[1] != "" {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	read(0, "")
	write(0, "重", true)
	write(3, "設 and", true)
	read(0, "重設 and")
	read(3, "設 and")
	read(100, "")
	write(2, "x", false)
	write(10, "\xe5\xaf", true)
	read(6, " and") // the rest of the character is missing

	// Text that Redis lost is only replaced when it is written from its beginning.
	redis.Flush()
	write(12, "more", false)
	read(0, "")
	write(0, "重設 and more", true)
	read(9, "d more")
	if err := writer.DeleteTexts(t.Context(), []realtime.TextKey{key}); err != nil {
		t.Error(err)
	}
	read(0, "")
}

func TestConcurrentUpdatesAreSerialized(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	const updates = 50
	var writers sync.WaitGroup
	for range 4 {
		r, _ := open(t, redis.URL)
		writers.Go(func() {
			for range updates {
				err := r.Update(t.Context(), "count", time.Minute, func(value []byte) ([]byte, error) {
					return append(value, '.'), nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	r, _ := open(t, redis.URL)
	value, err := r.Get(t.Context(), "count", time.Hour)
	ttl, ttlErr := r.TTL(t.Context(), "count")
	if len(value) != 4*updates || err != nil || ttl < 59*time.Minute || ttlErr != nil {
		t.Errorf("%d updates, %v; time to live %v, %v", len(value), err, ttl, ttlErr)
	}
	rejected := errors.New("rejected")
	if err := r.Update(t.Context(), "count", time.Minute, func([]byte) ([]byte, error) { return nil, rejected }); !errors.Is(err, rejected) || r.Unavailable() {
		t.Errorf("rejected update: %v, unavailable %v", err, r.Unavailable())
	}
	if value, err := r.Get(t.Context(), "nothing", time.Hour); value != nil || err != nil {
		t.Errorf("get of a missing key: %q, %v", value, err)
	}
	if ttl, err := r.TTL(t.Context(), "nothing"); ttl != 0 || err != nil {
		t.Errorf("time to live of a missing key: %v, %v", ttl, err)
	}
}

// BenchmarkNotification measures the delivery of one notification between instances.
func BenchmarkNotification(b *testing.B) {
	redis := redistest.Start(b)
	first, _ := open(b, redis.URL)
	second, _ := open(b, redis.URL)
	resumed := subscribe(b, second)
	for b.Loop() {
		first.Publish(realtime.Notification{Kind: "message"})
		<-resumed.notifications
	}
}
