package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// A stream that breaks repeatedly and is resumed contains the whole text once. It equals an unbroken stream and the
// stored text.
func TestBrokenStreamResumesWithoutLossOrDuplicates(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	rule, whole := slowRule(80, 8)
	alice, path := scriptedCaller(t, rule)
	var all sync.WaitGroup
	broken, breaks := make([][]event, 8), make([]int, 8)
	unbroken, errs := make([]answer, 8), make([]error, 8)
	for i := range broken {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			first, err := alice.tryListen(http.MethodPost, path, completionBody("Go on", true))
			if err != nil {
				errs[i] = err
				return
			}
			var beside sync.WaitGroup
			var besideErr error
			beside.Go(func() {
				unbroken[i], besideErr = alice.tryCall(http.MethodGet, "/api/runs/"+first.run+"/events/", nil, withHeader("Authorization", "Api-Key "+alice.key))
			})
			broken[i], breaks[i], err = alice.readWithBreaks(first, random)
			beside.Wait()
			errs[i] = errors.Join(err, besideErr)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("after %d breaks: %v", breaks[i], err)
			continue
		}
		content, last := checkStream(t, broken[i])
		other, otherLast := checkStream(t, unbroken[i].events())
		if content != whole || other != whole || !equalJSON(last, otherLast) || last["finishReason"] != "stop" || breaks[i] < 3 {
			t.Errorf("after %d breaks %q and %v, without breaks %q and %v", breaks[i], content, last, other, otherLast)
		}
		if stored := alice.storedReply(text(last, "runId")); stored["content"] != whole {
			t.Errorf("the stored message is %v", stored)
		}
	}
}

// readWithBreaks disconnects after a few events and resumes after the last received one, until the stream ends.
func (c caller) readWithBreaks(l *streamListener, random *rand.Rand) (heard []event, breaks int, err error) {
	for run, held := l.run, ""; ; breaks++ {
		for range 1 + random.IntN(12) {
			next, err := l.tryNext()
			if err != nil {
				l.disconnect()
				return nil, breaks, err
			}
			heard, held = append(heard, next), next.id
			if next.data["done"] == true {
				_, err := l.tryNext()
				l.disconnect()
				if !errors.Is(err, io.EOF) {
					return nil, breaks, fmt.Errorf("the last event is followed by %w", err)
				}
				return heard, breaks, nil
			}
		}
		l.disconnect()
		query, options := "", []option{}
		switch random.IntN(3) {
		case 0:
			query = "?after=" + held
		case 1:
			options = append(options, withHeader("Last-Event-ID", held))
		default: // after takes precedence
			query, options = "?after="+held, append(options, withHeader("Last-Event-ID", "1.1"))
		}
		if l, err = c.tryListen(http.MethodGet, "/api/runs/"+run+"/events/"+query, nil, options...); err != nil {
			return nil, breaks, err
		}
		if l.run != run {
			return nil, breaks, fmt.Errorf("X-Run-Id is %s, want %s", l.run, run)
		}
	}
}

// Without an event ID, a late listener receives the text so far as one delta, and then each new delta.
func TestStreamWithoutAnEventIDBeginsWithTheTextSoFar(t *testing.T) {
	t.Parallel()
	rule, whole := slowRule(40, 15)
	alice, path := scriptedCaller(t, rule)
	first := alice.listen(path, completionBody("Go on", true))
	for range 10 {
		first.next()
	}
	soFar, second := "", alice.follow(first.run, "")
	for _, firstText := range first.events {
		soFar += firstText.data["content"].(string)
	}
	if begun := second.next().data["content"].(string); !strings.HasPrefix(begun, soFar) || begun == whole {
		t.Errorf("the stream begins with %q, want the text so far, %q", begun, soFar)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Run-Id": first.run} {
		if got := second.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	firstText, firstLast := checkStream(t, first.rest())
	lateText, lateLast := checkStream(t, second.rest())
	if firstText != whole || lateText != whole || !equalJSON(firstLast, lateLast) || len(second.events) < 3 {
		t.Errorf("%q and %v, the late listener received in %d events %q and %v", firstText, firstLast, len(second.events), lateText, lateLast)
	}
	if stored := alice.storedReply(first.run); stored["content"] != whole {
		t.Errorf("the stored message is %v", stored)
	}
}

// The stream of a finished run resumes after any of its events: the rest of the text, or only the last event after
// the last delta, or 204 after the last event. Without an event ID, the whole text is one delta.
func TestFinishedRunResumesAfterAnyEvent(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	events := alice.stream(object{"message": object{"content": question}}).events()
	whole, last := checkStream(t, events)
	run := text(last, "runId")
	held := ""
	for i, received := range events[:len(events)-1] {
		held += received.data["content"].(string)
		rest := alice.follow(run, "", withHeader("Last-Event-ID", received.id)).rest()
		got, gotLast := checkResumedStream(t, held, rest)
		if got != whole || !equalJSON(gotLast, last) || rest[0].data["reset"] != nil || i >= len(events)-2 && len(rest) != 1 {
			t.Errorf("after %s: %q in %d events, and %v, not %v", received.id, got, len(rest), gotLast, last)
		}
	}
	end := events[len(events)-1].id
	for _, got := range []answer{
		alice.call(http.MethodGet, "/api/runs/"+run+"/events/", nil, withHeader("Last-Event-ID", end)),
		alice.call(http.MethodGet, "/api/runs/"+run+"/events/?after="+end, nil),
	} {
		if got.status != http.StatusNoContent || len(got.body) > 0 {
			t.Errorf("after the last event: %d %q", got.status, got.body)
		}
	}
	all := alice.follow(run, "").rest()
	if got, gotLast := checkStream(t, all); got != whole || !equalJSON(gotLast, last) || len(all) != 2 {
		t.Errorf("%d events: %q, %v", len(all), got, gotLast)
	}
}

// The stream of a finished reply without text has only the last event, and ends immediately.
func TestFinishedRunWithoutTextEndsItsStreamImmediately(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"match": "nothing", "deltas": []string{}}, object{"deltas": []string{}, "failAfter": 0})
	for asked, reason := range map[string]string{"nothing": "stop", "fail": "error"} {
		run := alice.listen(path, completionBody(asked, true)).run
		alice.awaitRun(run)
		began := time.Now()
		for _, query := range []string{"", "?after=1.0"} {
			if content, last := checkStream(t, alice.follow(run, query).rest()); content != "" || last["finishReason"] != reason || (last["error"] != nil) != (reason == "error") {
				t.Errorf("%s%s: %q, %v", asked, query, content, last)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: the stream took %v", asked, took)
		}
	}
}

// An unknown event ID returns the whole text with reset: the listener must discard what it has. An ID is unknown if
// it belongs to another attempt, is beyond the end or is inside a character.
func TestUnknownEventIDResetsTheStream(t *testing.T) {
	t.Parallel()
	alice, _ := scriptedCaller(t, silentRule("silence", "Ah 字", " oh"), object{"deltas": []string{"Ah 字", " oh"}})
	id := alice.startConversationWith("s")
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	over := alice.createAbandonedRun(id, "Speak", "running", 1)
	alice.awaitRun(over)
	id = alice.startConversationWith("s")
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	running := alice.createAbandonedRun(id, "Speak, then silence", "running", 1)
	eventually(t, "the run is reclaimed", func() bool { return number(alice.get("/api/runs/"+running+"/"), "attempt") == 2 })
	const whole = "Ah 字 oh"
	alice.follow(running, "").readTo("", whole)
	for _, test := range []struct {
		after, held string
		isReset     bool
	}{
		{"2.3", "Ah ", false},
		{"2.6", "Ah 字", false},
		{"1.6", "Oh no!", true},
		{"1.9", "Oh no....", true},
		{"3.6", "Oh no!", true},
		{"2.4", "Ah x", true},
		{"2.5", "Ah xy", true},
		{"1.0", "", false}, // there is nothing to discard
	} {
		events := alice.follow(over, "?after="+test.after).rest()
		if content, last := checkResumedStream(t, test.held, events); content != whole || last["finishReason"] != "stop" || (events[0].data["reset"] == true) != test.isReset {
			t.Errorf("after %s: %v", test.after, events)
		}
		growing := alice.follow(running, "?after="+test.after)
		if growing.readTo(test.held, whole); (growing.events[0].data["reset"] == true) != test.isReset {
			t.Errorf("during the reply, after %s: %v", test.after, growing.events)
		}
		growing.disconnect()
	}
	// An ID beyond the end is detected only when the reply has ended.
	for _, after := range []string{"2.11", "2.999999999"} {
		events := alice.follow(over, "?after="+after).rest()
		if content, _ := checkResumedStream(t, "Ah 字 oh no", events); content != whole || events[0].data["reset"] != true || len(events) != 2 {
			t.Errorf("after %s: %v", after, events)
		}
		growing := alice.follow(running, "?after="+after)
		alice.cancel(running)
		if content, last := checkResumedStream(t, "Ah 字 oh no", growing.rest()); content != whole || last["finishReason"] != "cancelled" {
			t.Errorf("during the reply, after %s: %v", after, growing.events)
		}
	}
}

// Listeners receive a reset when another attempt takes over.
func TestNewAttemptResetsTheStream(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("", "Ah ", "oh"))
	first := alice.listen(path, completionBody("Speak", true))
	first.readTo("", "Ah oh")
	eventually(t, "the run is reclaimed", func() bool {
		alice.exec("UPDATE runs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND attempt = 1", first.run)
		return number(alice.get("/api/runs/"+first.run+"/"), "attempt") == 2
	})
	if reset := first.next(); reset.data["reset"] != true || !strings.HasPrefix(reset.id, "2.") {
		t.Fatalf("%v", reset)
	} else {
		first.readTo(reset.data["content"].(string), "Ah oh")
	}
	alice.cancel(first.run)
	resets := 0
	content, last := checkStream(t, first.rest())
	for _, reset := range first.events {
		if reset.data["reset"] == true {
			resets++
		}
	}
	if content != "Ah oh" || last["finishReason"] != "cancelled" || resets != 1 || alice.storedReply(first.run)["content"] != content {
		t.Errorf("%d resets, %q, %v", resets, content, last)
	}
}

// An invalid event ID is refused, and the problem names the parameter or header.
func TestInvalidEventIDsAreRejected(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	run := text(alice.call(http.MethodPost, completions, object{"message": object{"content": "Hi"}}).wantStatus(200), "runId")
	path := "/api/runs/" + run + "/events/"
	for _, id := range []string{"x", "1", "1.", ".1", "0.1", "-1.1", "1.-1", "+1.1", "1.1.1", "01.1", "1.01", "1,1", "1.1x", "1234567890.1", "1.1234567890", "1.٣", "1. 1"} {
		alice.call(http.MethodGet, path, nil, withHeader("Last-Event-ID", id)).wantProblem(400, "invalid_request", "Last-Event-ID")
		alice.call(http.MethodGet, path+"?after="+url.QueryEscape(id), nil).wantProblem(400, "invalid_request", "after")
		alice.call(http.MethodGet, path+"?after=1.1", nil, withHeader("Last-Event-ID", id)).wantProblem(400, "invalid_request", "Last-Event-ID")
	}
	alice.call(http.MethodGet, "/api/runs/"+uuid.NewString()+"/events/", nil).wantProblem(404, "not_found", "")
}

// The last event of a failed run is its error, also for readers that connect later.
func TestStreamOfAFailedRunEndsWithItsError(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"deltas": []string{"One ", "moment", "never"}, "failAfter": 2, "delayMs": 20})
	first := alice.listen(path, completionBody("Fail", true))
	content, last := checkStream(t, first.rest())
	late, lateLast := checkStream(t, alice.follow(first.run, "").rest())
	rest, restLast := checkResumedStream(t, "One ", alice.follow(first.run, "?after="+first.events[0].id).rest())
	for _, got := range []object{last, lateLast, restLast} {
		problem, _ := got["error"].(object)
		if got["finishReason"] != "error" || problem["error"] != "upstream_failed" || problem["detail"] != last["error"].(object)["detail"] {
			t.Errorf("%v", got)
		}
	}
	if content != "One moment" || late != content || rest != content {
		t.Errorf("%q, for later readers %q and %q", content, late, rest)
	}
}

// A queued run can be followed before it starts.
func TestQueuedRunsCanBeFollowed(t *testing.T) {
	t.Parallel()
	rule, whole := slowRule(10, 5)
	alice, path := scriptedCaller(t, silentRule("silence", "Ah"), rule)
	first := alice.listen(path, completionBody("silence", true))
	first.next()
	id := text(alice.get("/api/runs/"+first.run+"/"), "conversation")
	waiting := text(alice.sendMessage(id, "Go on"), "run_id")
	second := alice.follow(waiting, "")
	if run := alice.get("/api/runs/" + waiting + "/"); run["state"] != "queued" {
		t.Errorf("%v", run)
	}
	alice.cancel(first.run)
	if content, last := checkStream(t, second.rest()); content != whole || last["finishReason"] != "stop" || last["runId"] != waiting {
		t.Errorf("%q, %v", content, last)
	}
}

// Deleting a conversation ends the streams of its runs, including queued ones.
func TestDeletingAConversationEndsTheStreamsOfItsRuns(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("", "Ah"))
	first := alice.listen(path, completionBody("silence", true))
	first.next()
	id := text(alice.get("/api/runs/"+first.run+"/"), "conversation")
	listeners := []*streamListener{first, alice.follow(first.run, "?after=1.2"), alice.follow(text(alice.sendMessage(id, "Go on"), "run_id"), "")}
	alice.remove("/api/conversations/" + id + "/")
	for i, l := range listeners {
		events := l.rest()
		last := events[len(events)-1].data
		problem, _ := last["error"].(object)
		if last["done"] != true || last["finishReason"] != "error" || problem["error"] != "not_found" {
			t.Errorf("listener %d: %v", i, last)
		}
	}
	alice.call(http.MethodGet, "/api/runs/"+first.run+"/events/", nil).wantProblem(404, "not_found", "")
}
