package fair_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"parley/internal/fair"
)

var (
	loud  = uuid.UUID{1}
	quiet = uuid.UUID{2}
	other = uuid.UUID{3}
)

func acquire(t *testing.T, s *fair.Semaphore, organization uuid.UUID, weight int64) (release func()) {
	t.Helper()
	release, err := s.Acquire(t.Context(), organization, weight)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// Organizations take turns: the second caller of an organization waits for the first caller of another one, however
// many wait before it.
func TestOrganizationsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fair.New(fair.Limits{Size: 1})
		release := acquire(t, s, loud, 1)
		var order []string
		var callers sync.WaitGroup
		start := func(name string, organization uuid.UUID) {
			callers.Go(func() {
				done := acquire(t, s, organization, 1)
				order = append(order, name)
				done()
			})
			synctest.Wait()
		}
		start("loud 1", loud)
		start("loud 2", loud)
		start("loud 3", loud)
		start("quiet 1", quiet)
		start("other 1", other)
		start("quiet 2", quiet)
		release()
		callers.Wait()
		if got := fmt.Sprint(order); got != "[loud 1 quiet 1 other 1 loud 2 quiet 2 loud 3]" {
			t.Error(got)
		}
	})
}

// An organization holds at most its share, so another one gets the rest at once.
func TestShareIsNeverExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fair.New(fair.Limits{Size: 4, Share: 3})
		release := acquire(t, s, loud, 2)
		waited := make(chan struct{})
		go func() {
			acquire(t, s, loud, 2)()
			close(waited)
		}()
		synctest.Wait()
		acquire(t, s, quiet, 1)()
		acquire(t, s, quiet, 2)()
		select {
		case <-waited:
			t.Error("the share was exceeded")
		default:
		}
		release()
		<-waited
		// a weight above the share counts as the share
		acquire(t, s, loud, 100)()
	})
}

// A caller is refused when too many of its organization wait, when it has waited too long, and when its context ends.
// None of that affects other organizations.
func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fair.New(fair.Limits{Size: 2, Share: 1, Waiting: 2, Wait: time.Minute})
		release := acquire(t, s, loud, 1)
		ended := make(chan error, 2)
		cancelled, cancel := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{t.Context(), cancelled} {
			go func() {
				_, err := s.Acquire(ctx, loud, 1)
				ended <- err
			}()
			synctest.Wait()
		}
		if _, err := s.Acquire(t.Context(), loud, 1); !errors.Is(err, fair.ErrFull) {
			t.Errorf("beside two that wait: %v", err)
		}
		acquire(t, s, quiet, 1)()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		began := time.Now()
		if err := <-ended; !errors.Is(err, fair.ErrFull) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		release()
		acquire(t, s, loud, 1)()
	})
}

// A large weight is not overtaken for ever by small ones.
func TestLargeWeightsAreServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fair.New(fair.Limits{Size: 4})
		first := acquire(t, s, loud, 2)
		large := make(chan struct{})
		go func() {
			acquire(t, s, quiet, 4)()
			close(large)
		}()
		synctest.Wait()
		small := make(chan struct{})
		go func() {
			acquire(t, s, other, 1)()
			close(small)
		}()
		synctest.Wait()
		select {
		case <-small:
			t.Error("a small weight overtook a large one")
		default:
		}
		first()
		<-large
		<-small
	})
}
