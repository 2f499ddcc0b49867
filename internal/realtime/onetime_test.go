package realtime_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
	"parley/internal/redistest"
)

func TestOneTimeValueExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := realtime.NewOneTimeStore(nil)
		put := func(key string) {
			if err := store.Put(t.Context(), owner, key, "value of "+key, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		take := func(key string) string {
			value, _, err := store.Take(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
		put("a")
		put("b")
		time.Sleep(time.Minute - 1)
		put("c")
		if got := []string{take("a"), take("a"), take(""), take("A")}; fmt.Sprint(got) != fmt.Sprint([]string{"value of a", "", "", ""}) {
			t.Errorf("before a minute: %q", got)
		}
		time.Sleep(time.Nanosecond)
		if got := []string{take("b"), take("c")}; got[0] != "" || got[1] != "value of c" {
			t.Errorf("after a minute: %q", got)
		}
	})
}

// A user, and an organization, can only fill a part of the memory. Expired and taken values make room.
func TestOneOwnerCannotFillTheOneTimeStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := realtime.NewOneTimeStore(nil)
		n := 0
		// fill returns how many values an owner can put.
		fill := func(owner func(i int) realtime.Owner) int {
			for i := 0; ; i++ {
				n++
				if err := store.Put(t.Context(), owner(i), fmt.Sprint(n), "", time.Minute); errors.Is(err, realtime.ErrFull) {
					return i
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		alone := func(int) realtime.Owner { return owner }
		organization := func(id byte) func(int) realtime.Owner {
			return func(i int) realtime.Owner {
				return realtime.Owner{Organization: uuid.UUID{id}, User: uuid.UUID{id, byte(i >> 8), byte(i), 1}}
			}
		}
		if of := fill(alone); of != 2_000 {
			t.Errorf("a user put %d values", of)
		}
		if of := fill(organization(2)); of != 49_000 {
			t.Errorf("an organization put %d values", of)
		}
		if of := fill(organization(3)); of != 24_500 {
			t.Errorf("the next organization put %d values", of)
		}
		if _, ok, err := store.Take(t.Context(), "1"); !ok || err != nil {
			t.Error(ok, err)
		}
		if of := fill(alone); of != 1 {
			t.Errorf("after one was taken, a user put %d values", of)
		}
		time.Sleep(time.Minute)
		if of := fill(alone); of != 2_000 {
			t.Errorf("after all expired, a user put %d values", of)
		}
	})
}

var owner = realtime.Owner{Organization: uuid.UUID{1}, User: uuid.UUID{1, 1}}

// takeConcurrently takes a key from both stores at once and returns how often it succeeded.
func takeConcurrently(t *testing.T, stores [2]*realtime.OneTimeStore, key, want string) int64 {
	t.Helper()
	var taken atomic.Int64
	var takers sync.WaitGroup
	for i := range 50 {
		takers.Go(func() {
			value, ok, err := stores[i%2].Take(t.Context(), key)
			if err != nil || ok != (value == want) {
				t.Errorf("took %q, %v", value, err)
			}
			if ok {
				taken.Add(1)
			}
		})
	}
	takers.Wait()
	return taken.Load()
}

func TestOneTimeValueIsTakenExactlyOnce(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	local := realtime.NewOneTimeStore(nil)
	for name, stores := range map[string][2]*realtime.OneTimeStore{
		"two instances":          {realtime.NewOneTimeStore(first), realtime.NewOneTimeStore(second)},
		"one instance, no Redis": {local, local},
	} {
		for n := range 20 {
			key := fmt.Sprint("key ", n)
			if err := stores[0].Put(t.Context(), owner, key, "value", time.Minute); err != nil {
				t.Fatal(err)
			}
			if taken := takeConcurrently(t, stores, key, "value"); taken != 1 {
				t.Errorf("%s: the value was taken %d times", name, taken)
			}
		}
		if err := stores[0].Put(t.Context(), owner, "brief", "value", time.Millisecond); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Millisecond)
		if _, ok, err := stores[0].Take(t.Context(), "brief"); ok || err != nil {
			t.Errorf("%s: took an expired value: %v, %v", name, ok, err)
		}
	}
}

func TestOneTimeValueStaysLocalWhileRedisIsUnavailable(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first, _ := open(t, redis.URL)
	second, _ := open(t, redis.URL)
	visit, elsewhere := realtime.NewOneTimeStore(first), realtime.NewOneTimeStore(second)
	redis.Stop()
	if err := visit.Put(t.Context(), owner, "key", "value", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := elsewhere.Take(t.Context(), "key"); ok || !errors.Is(err, realtime.ErrUnavailable) {
		t.Errorf("take at the other instance: %v, %v", ok, err)
	}
	if value, ok, err := visit.Take(t.Context(), "key"); value != "value" || !ok || err != nil {
		t.Errorf("take at the same instance: %q, %v, %v", value, ok, err)
	}
}
