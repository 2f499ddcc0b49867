package reply_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/reply"
)

func newReply() *reply.Reply { return reply.New(uuid.New(), uuid.New(), uuid.New()) }

func TestFollowReturnsWhenIdleOrDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReply()
		began := time.Now()
		chunk, err := r.Follow(t.Context(), r.Start(), time.Second)
		if !chunk.IsEmpty() || chunk.After != r.Start() || err != nil || time.Since(began) != time.Second {
			t.Errorf("Follow returned %+v, %v after %v, want an empty chunk after 1s", chunk, err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Follow(ctx, chunk.After, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow returned %v for a context that is done, want context.Canceled", err)
		}
	})
}

func TestFollowReturnsEachDelta(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReply()
		go func() {
			for _, delta := range []string{"重", "設", " it"} {
				time.Sleep(time.Second)
				r.Append(1, delta)
			}
			r.Finish(1, &reply.Outcome{State: "completed", Content: "重設 it"})
		}()
		var got []string
		for at := r.Start(); ; {
			chunk, err := r.Follow(t.Context(), at, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Outcome != nil {
				break
			}
			got, at = append(got, chunk.Delta), chunk.After
		}
		if len(got) != 3 || got[0] != "重" || got[1] != "設" || got[2] != " it" {
			t.Errorf("got deltas %q", got)
		}
	})
}

func TestNextResetsInvalidPositions(t *testing.T) {
	t.Parallel()
	r := newReply()
	r.Append(1, "重設")
	for _, at := range []reply.Position{{Attempt: 1, Offset: 1}, {Attempt: 2, Offset: 3}} {
		chunk, _ := r.Next(at)
		if !chunk.IsReset || chunk.Delta != "重設" || chunk.After != (reply.Position{Attempt: 1, Offset: 6}) {
			t.Errorf("Next(%v) returned %+v, want a reset to the whole text", at, chunk)
		}
	}
	ahead := reply.Position{Attempt: 1, Offset: 9} // valid while the text may grow on another instance
	if chunk, _ := r.Next(ahead); !chunk.IsEmpty() {
		t.Errorf("Next beyond a growing text returned %+v, want an empty chunk", chunk)
	}
	r.Finish(1, &reply.Outcome{State: "completed", Content: "重設"})
	if chunk, _ := r.Next(ahead); !chunk.IsReset {
		t.Errorf("Next beyond a complete text returned %+v, want a reset", chunk)
	}
}

func TestReplacedAttemptsAreIgnored(t *testing.T) {
	t.Parallel()
	r := newReply()
	r.Append(1, "First")
	r.Restart(2)
	r.Append(1, " more")
	r.Append(2, "Second")
	if text := r.Text(); text != "Second" {
		t.Errorf("got text %q, want that of the second attempt", text)
	}
	r.AppendAt(2, 3, "misplaced")
	r.AppendAt(2, 6, ".")
	if text := r.Text(); text != "Second." {
		t.Errorf("got text %q, want only the text at the right offset appended", text)
	}
}

func TestOnlyTheFirstOutcomeCounts(t *testing.T) {
	t.Parallel()
	r := newReply()
	r.Append(1, "Half")
	r.Finish(1, &reply.Outcome{State: "completed", Content: "Half and half"})
	r.Fail(apperr.New(apperr.Unavailable, "Too late."))
	r.Append(1, "!")
	outcome, ended := r.Outcome()
	<-ended
	if outcome.State != "completed" || r.Text() != "Half and half" {
		t.Errorf("got outcome %+v and text %q, want the first outcome with its text", outcome, r.Text())
	}
}

func TestNewOutcome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err                 error
		state, finishReason string
		kind                apperr.Kind
	}{
		"completed":        {nil, "completed", "stop", ""},
		"cancelled":        {reply.ErrCancelled, "cancelled", "cancelled", ""},
		"public error":     {apperr.New(apperr.Unavailable, "Later."), "failed", "error", apperr.Unavailable},
		"not found":        {apperr.New(apperr.NotFound, "No bot."), "failed", "error", apperr.Internal},
		"unexpected error": {errors.New("boom"), "failed", "error", apperr.Internal},
	} {
		outcome := reply.NewOutcome("text", bot.Answer{FinishReason: "stop"}, c.err)
		var kind apperr.Kind
		if outcome.Err != nil {
			kind = outcome.Err.Kind
		}
		if outcome.State != c.state || outcome.FinishReason != c.finishReason || kind != c.kind || outcome.Content != "text" {
			t.Errorf("%s: got %+v", name, outcome)
		}
	}
}
