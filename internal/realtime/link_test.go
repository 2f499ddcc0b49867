package realtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
	"parley/internal/redistest"
)

// patience bounds every wait.
const patience = 20 * time.Second

// said is a log that can be read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(data)
}

func (s *said) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), words)
}

func open(t testing.TB, address string) (*realtime.Link, *said) {
	t.Helper()
	log := new(said)
	l, err := realtime.Open(t.Context(), address, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, log
}

// ear is what a link hears.
type ear struct {
	hints  chan realtime.Hint
	missed chan struct{}
}

// listen waits until the link hears.
func listen(t testing.TB, l *realtime.Link) ear {
	t.Helper()
	e := ear{hints: make(chan realtime.Hint, 10_000), missed: make(chan struct{}, 100)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Listen(ctx, func(hints []realtime.Hint) {
			for _, hint := range hints {
				e.hints <- hint
			}
		}, func() { e.missed <- struct{}{} })
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	next(t, e.missed)
	return e
}

func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// eventually looks until it is so.
func eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); !isSo(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

func TestHintsAreHeardByTheOthers(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	stranger, _ := open(t, redis.URL+"?db=7")
	here, there, elsewhere := listen(t, first), listen(t, second), listen(t, stranger)
	topic := uuid.New()
	for n := range int64(1000) {
		first.Tell(realtime.Hint{Kind: "message", Topic: topic, Number: n})
	}
	first.Tell(realtime.Hint{Kind: "run", Topic: topic, ID: uuid.New()})
	last := int64(-1)
	for hint := next(t, there.hints); hint.Kind != "run"; hint = next(t, there.hints) {
		if hint.Topic != topic || hint.Number < last {
			t.Errorf("%+v after %d", hint, last)
		}
		last = hint.Number
	}
	second.Tell(realtime.Hint{Kind: "end"})
	if hint := next(t, here.hints); hint.Kind != "end" {
		t.Errorf("it hears itself: %+v", hint)
	}
	if last < 0 || len(elsewhere.hints) > 0 {
		t.Errorf("the last number is %d; another database hears %d", last, len(elsewhere.hints))
	}
}

func TestTheLinkComesBackByItself(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, log := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	there := listen(t, second)
	for round := 1; round <= 2; round++ {
		redis.Stop()
		eventually(t, "it is noticed", first.IsAway)
		for range 10 {
			if _, err := first.Value(t.Context(), "x", time.Minute); !errors.Is(err, realtime.ErrAway) {
				t.Errorf("%v", err)
			}
		}
		redis.Start()
		next(t, there.missed)
		eventually(t, "it is back", func() bool { return !first.IsAway() })
		first.Tell(realtime.Hint{Kind: "hello", Number: int64(round)})
		if hint := next(t, there.hints); hint.Number != int64(round) {
			t.Errorf("%+v", hint)
		}
		if log.count("redis is away") != round || log.count("redis is back") != round {
			t.Errorf("round %d is told as %s", round, log.text.String())
		}
	}
}

func TestALinkMayBeginWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Stop()
	l, log := open(t, redis.URL)
	if !l.IsAway() || log.count("redis is away") != 1 {
		t.Error("it is not told")
	}
	redis.Start()
	eventually(t, "it is there", func() bool { return !l.IsAway() })
	for _, address := range []string{"", "localhost:6379", "http://localhost", "redis://u:secret@host:x/", "redis://host/0/1"} {
		if _, err := realtime.Open(t.Context(), address, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestATextGrowsAndIsReadFromAnywhere(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	writer, _ := open(t, redis.URL)
	reader, _ := open(t, redis.URL)
	key := realtime.TextKey{Run: uuid.New(), Attempt: 2}
	grow := func(offset int, text string, isWhole bool) {
		t.Helper()
		got, err := writer.Grow(t.Context(), []realtime.Growth{{TextKey: key, Offset: offset, Text: text}})
		if err != nil || got[0] != isWhole {
			t.Errorf("%v, %v", got, err)
		}
	}
	read := func(offset int, want string) {
		t.Helper()
		other := realtime.Text{TextKey: realtime.TextKey{Run: key.Run, Attempt: 1}}
		got, err := reader.Read(t.Context(), []realtime.Text{{TextKey: key, Offset: offset}, other})
		if err != nil || got[0] != want || got[1] != "" {
			t.Errorf("%q, %v, not %q", got, err, want)
		}
	}
	read(0, "")
	grow(0, "重", true)
	grow(3, "設 and", true)
	read(0, "重設 and")
	read(3, "設 and")
	read(100, "")
	grow(2, "x", false)
	grow(10, "\xe5\xaf", true)
	read(6, " and") // the rest of the character is yet to come

	// What was lost is not begun in its middle.
	redis.Flush()
	grow(12, "more", false)
	read(0, "")
	grow(0, "重設 and more", true)
	read(9, "d more")
	if err := writer.Forget(t.Context(), []realtime.TextKey{key}); err != nil {
		t.Error(err)
	}
	read(0, "")
}

func TestAValueIsChangedByOneAfterTheOther(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	const each = 50
	var all sync.WaitGroup
	for range 4 {
		l, _ := open(t, redis.URL)
		all.Go(func() {
			for range each {
				err := l.Change(t.Context(), "count", time.Minute, func(value []byte) ([]byte, error) {
					return append(value, '.'), nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	l, _ := open(t, redis.URL)
	value, err := l.Value(t.Context(), "count", time.Hour)
	left, leftErr := l.Left(t.Context(), "count")
	if len(value) != 4*each || err != nil || left < 59*time.Minute || leftErr != nil {
		t.Errorf("%d changes, %v, %v, %v", len(value), err, left, leftErr)
	}
	refusal := errors.New("no")
	if err := l.Change(t.Context(), "count", time.Minute, func([]byte) ([]byte, error) { return nil, refusal }); !errors.Is(err, refusal) || l.IsAway() {
		t.Error(err)
	}
	if value, err := l.Value(t.Context(), "nothing", time.Hour); value != nil || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	if left, err := l.Left(t.Context(), "nothing"); left != 0 || err != nil {
		t.Errorf("%v, %v", left, err)
	}
}

func TestADepositIsTakenOnce(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	alone := realtime.NewDeposits(nil)
	for name, pair := range map[string][2]*realtime.Deposits{
		"two instances": {realtime.NewDeposits(first), realtime.NewDeposits(second)},
		"one alone":     {alone, alone},
	} {
		for n := range 20 {
			key := fmt.Sprint("key ", n)
			if err := pair[0].Put(t.Context(), key, "value", time.Minute); err != nil {
				t.Fatal(err)
			}
			var taken atomic.Int64
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					value, ok, err := pair[i%2].Take(t.Context(), key)
					if err != nil || ok != (value == "value") {
						t.Errorf("%s: %q, %v", name, value, err)
					}
					if ok {
						taken.Add(1)
					}
				})
			}
			all.Wait()
			if taken.Load() != 1 {
				t.Errorf("%s: it is taken %d times", name, taken.Load())
			}
		}
		if err := pair[0].Put(t.Context(), "brief", "value", time.Millisecond); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Millisecond)
		if _, ok, err := pair[0].Take(t.Context(), "brief"); ok || err != nil {
			t.Errorf("%s: %v after its time, %v", name, ok, err)
		}
	}
}

func TestADepositIsKeptHereWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	here, there := realtime.NewDeposits(first), realtime.NewDeposits(second)
	redis.Stop()
	if err := here.Put(t.Context(), "key", "value", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := there.Take(t.Context(), "key"); ok || !errors.Is(err, realtime.ErrAway) {
		t.Errorf("%v, %v", ok, err)
	}
	if value, ok, err := here.Take(t.Context(), "key"); value != "value" || !ok || err != nil {
		t.Errorf("%q, %v, %v", value, ok, err)
	}
}

// BenchmarkHint measures the way of a hint from one process to another.
func BenchmarkHint(b *testing.B) {
	redis := redistest.Start(b)
	first, _ := open(b, redis.URL)
	second, _ := open(b, redis.URL)
	there := listen(b, second)
	for b.Loop() {
		first.Tell(realtime.Hint{Kind: "message"})
		<-there.hints
	}
}
