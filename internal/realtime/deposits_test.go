package realtime_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/realtime"
)

// A value can be taken once, within its time, and not by guessing.
func TestADepositIsTakenOnceInItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deposits := realtime.NewDeposits(nil)
		put := func(key string) {
			if err := deposits.Put(t.Context(), key, "value of "+key, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		take := func(key string) string {
			value, _, err := deposits.Take(t.Context(), key)
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
			t.Errorf("%q", got)
		}
		time.Sleep(time.Nanosecond)
		if got := []string{take("b"), take("c")}; got[0] != "" || got[1] != "value of c" {
			t.Errorf("after a minute: %q", got)
		}
	})
}

// Values that are not taken take no memory for long: their number is bounded, and room is made when their time is over.
func TestDepositsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deposits := realtime.NewDeposits(nil)
		put := func(i int) error { return deposits.Put(t.Context(), fmt.Sprint(i), "", time.Minute) }
		for i := range 100_000 {
			if err := put(i); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := put(-1); !errors.Is(err, realtime.ErrFull) {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(time.Minute)
		if err := put(-1); err != nil {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// Of fifty who take a value at once one gets it.
func TestADepositIsTakenByOne(t *testing.T) {
	t.Parallel()
	deposits := realtime.NewDeposits(nil)
	if err := deposits.Put(t.Context(), "a", "value", time.Minute); err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, ok, _ := deposits.Take(t.Context(), "a"); ok {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d got it", taken.Load())
	}
}
