package chat_test

import (
	"testing"
	"time"

	"parley/internal/chat"
)

// What Redis loses in the middle of a reply is written again: who listens elsewhere
// hears all of it, once.
func TestARedisThatForgetsLosesNothing(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	rule, text := slowly(150, 20)
	j.scripted(rule)
	sent := j.begin(one)
	there := j.resume(two, sent)
	for range 4 {
		for seen := there.deltas; there.deltas < seen+3; {
			there.next()
		}
		j.redis.Flush()
	}
	// Who begins after that hears it from its beginning.
	late := j.resume(two, sent)
	late.whole(text)
	there.whole(text)
	if there.resets+late.resets > 0 || there.deltas < 20 {
		t.Errorf("%d and %d resets, %d pieces", there.resets, late.resets, there.deltas)
	}
}

// A Redis that is started anew in the middle of a reply delays what is heard elsewhere,
// and nothing else; then all is as before.
func TestARedisThatIsStartedAnewLosesNothing(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, oneLink := j.linked(time.Minute)
	two, twoLink := j.linked(time.Minute)
	rule, text := slowly(200, 20)
	j.scripted(rule)
	sent := j.begin(one)
	conversation := j.quiet(one)
	watch := j.watch(two, conversation)
	there := j.resume(two, sent)
	there.next()
	there.next()

	j.redis.Stop()
	eventually(t, "it is noticed", func() bool { return oneLink.Unavailable() && twoLink.Unavailable() })
	away := j.send(one, conversation, "Meanwhile")
	if got := event(t, watch, func(*chat.Event) bool { return true }); got.Message != nil {
		t.Errorf("without Redis it is told %+v", got.Message)
	}
	if missed, err := watch.Since(t.Context(), 0); err != nil || len(missed) != 1 || missed[0].ID != away.MessageID {
		t.Errorf("%v, %v", missed, err)
	}
	heard := there.deltas
	j.redis.Start()
	for there.deltas < heard+5 { // it grows again before its end
		if there.next() != nil {
			t.Fatal("it does not grow again")
		}
	}
	there.whole(text)
	if there.resets > 0 {
		t.Errorf("%d resets", there.resets)
	}
	began := time.Now()
	again := j.send(one, conversation, "And again")
	event(t, watch, func(e *chat.Event) bool { return e.Message != nil && e.Message.ID == again.MessageID })
	if took := time.Since(began); took > soon {
		t.Errorf("it takes %v", took)
	}
}

// An attempt that takes over at another instance is heard from its beginning.
func TestAnotherAttemptBeginsAnewEverywhere(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two, three := j.instance(), j.instance(), j.instance()
	j.scripted(silent())
	sent := j.begin(one)
	there, own := j.resume(three, sent), j.resume(one, sent)
	there.next()
	own.next()
	rule, text := slowly(80, 20)
	j.scripted(rule)
	eventually(t, "it is taken up", func() bool { // unless the lease is renewed between
		if _, err := j.sql.Exec(t.Context(), "UPDATE runs SET lease_until = 'epoch' WHERE id = $1 AND attempt = 1", sent.RunID); err != nil {
			t.Fatal(err)
		}
		_, attempt := j.runState(*sent.RunID)
		return attempt == 2
	})
	for _, f := range []*follower{there, own, j.resume(two, sent)} {
		f.whole(text)
		if f.at.Attempt != 2 {
			t.Errorf("it ends at %v", f.at)
		}
	}
	if there.resets != 1 || there.deltas < 10 {
		t.Errorf("%d resets, %d pieces", there.resets, there.deltas)
	}
}
