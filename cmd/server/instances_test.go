package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// soon is much shorter than a lease.
const soon = 8 * time.Second

// pair is two instances on one database.
type pair struct {
	first, second *process
	address       string // of the database
	conn          *pgx.Conn
}

func servingPair(t *testing.T, environment ...string) pair {
	t.Helper()
	address := newDatabase(t)
	environment = append(environment, "DATABASE_URL="+address)
	p := pair{first: serving(t, newDir(t), environment...), address: address}
	p.second = serving(t, newDir(t), environment...)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	p.conn = conn
	return p
}

// clients returns a client of each instance, with the same key.
func (p pair) clients() (first, second client) {
	return p.first.client(p.first.key), p.second.client(p.first.key)
}

// completionStream is a streamed completion.
type completionStream struct {
	*streamReader

	conversation, run string
}

// stream asks a chatbot in a conversation, or in a new one if it is empty.
func (c client) stream(bot, conversation, content string) completionStream {
	c.t.Helper()
	body := object{"conversation": conversation, "isStreaming": true, "message": object{"content": content}}
	l, header := c.listenWithHeader("POST", "/api/chatbots/"+bot+"/completions/", body)
	run := header.Get("X-Run-Id")
	if conversation == "" {
		var found struct{ Conversation string }
		c.call("GET", "/api/runs/"+run+"/", nil, http.StatusOK, &found)
		conversation = found.Conversation
	}
	return completionStream{streamReader: l, conversation: conversation, run: run}
}

// resume reads the events of a run.
func (c client) resume(run string) *streamReader {
	c.t.Helper()
	return c.listen("GET", "/api/runs/"+run+"/events/", nil)
}

// checkAnsweredOnce checks that a conversation has one reply with the wanted text to each question, and each run one record.
func (p pair) checkAnsweredOnce(t *testing.T, c client, conversation string, texts ...string) {
	t.Helper()
	stored := c.messages(conversation)
	var found []string
	for i, m := range stored {
		if m.Seq != int64(i+1) {
			t.Errorf("message %d: seq %d", i+1, m.Seq)
		}
		if m.Type == "outgoing" {
			found = append(found, m.Content)
		}
	}
	if len(stored) != 2*len(texts) || strings.Join(found, "\n") != strings.Join(texts, "\n") {
		t.Errorf("stored %+v, want the replies %q", stored, texts)
	}
	if n := number(t, p.conn, "SELECT count(*) FROM records WHERE session_id = $1", conversation); n != len(texts) {
		t.Errorf("%d records of %d replies", n, len(texts))
	}
}

// checkWhole waits for the end of a stream, which must have the whole text and no error.
func checkWhole(t *testing.T, what string, l *streamReader, text string) {
	t.Helper()
	got, last := l.finish(t)
	if got != text || last.Error != nil || last.FinishReason != "stop" {
		t.Errorf("%s: text %q, final event %+v", what, got, last)
	}
}

func TestPausedInstanceDoesNotAnswerTwice(t *testing.T) {
	t.Parallel()
	// given: an instance that writes three replies, which are followed on both instances: a long one, a short one,
	// and one whose next delta is due when the instance continues
	p := servingPair(t)
	first, second := p.clients()
	brief, briefText := scriptRule("brief", 8, 200)
	long, longText := scriptRule("long", 16, 400)
	due, dueText := scriptRule("due", 2, 3000)
	first.createScriptedBot("slow", brief, long, due)
	texts := map[string]string{"long": longText, "brief": briefText, "due": dueText}
	streams := map[string]completionStream{}
	elsewhere := map[string]*streamReader{}
	for _, question := range []string{"due", "long", "brief"} {
		streams[question] = first.stream("slow", "", question)
		elsewhere[question] = second.resume(streams[question].run)
		eventually(t, "the first delta arrives", func() bool { return len(streams[question].received()) > 0 })
	}

	// when: it is paused until the other instance has rescued the runs, completed one of them and is writing another
	p.first.signal(syscall.SIGSTOP)
	within(t, time.Minute, "the other instance has rescued the runs", func() bool {
		return second.run(streams["brief"].run).State == "completed" && second.run(streams["long"].run).Attempt == 2
	})
	if run := second.run(streams["long"].run); run.State != "running" {
		t.Errorf("the long run has ended too early: %+v", run)
	}
	p.first.signal(syscall.SIGCONT)

	// then: each question has one reply, and all streams have its whole text
	for question, text := range texts {
		checkWhole(t, question+" on the paused instance", streams[question].streamReader, text)
		checkWhole(t, question+" on the other instance", elsewhere[question], text)
		for _, c := range []client{first, second} {
			if run := c.run(streams[question].run); run.State != "completed" || run.Attempt != 2 || run.Error != nil {
				t.Errorf("%s: %+v", question, run)
			}
			checkWhole(t, question+" after the end", c.resume(streams[question].run), text)
			p.checkAnsweredOnce(t, c, streams[question].conversation, text)
		}
	}

	// and: the paused instance answers new questions
	next := first.stream("slow", streams["brief"].conversation, "brief")
	checkWhole(t, "the next reply", next.streamReader, briefText)
	p.checkAnsweredOnce(t, second, streams["brief"].conversation, briefText, briefText)
	p.first.stop()
	p.second.stop()
}

func TestRunsAreCancelledAndFollowedOnAnyInstance(t *testing.T) {
	t.Parallel()
	// given: replies in progress on one instance with others queued, followed on both instances
	p := servingPair(t)
	first, second := p.clients()
	long, longText := scriptRule("long", 600, 100)
	brief, briefText := scriptRule("brief", 30, 100)
	first.createScriptedBot("slow", long, brief)
	running := first.stream("slow", "", "long")
	waiting := first.stream("slow", running.conversation, "brief, but never")
	behind := first.stream("slow", running.conversation, "brief")
	whole := first.stream("slow", "", "brief")
	there, wholeThere := second.resume(running.run), second.resume(whole.run)
	eventually(t, "the reply has started", func() bool { return len(running.received()) > 3 })
	if run := second.run(running.run); run.State != "running" {
		t.Errorf("the run is not in progress: %+v", run)
	}

	// when: a queued run and a run in progress are cancelled on the other instance
	checkQueuedRunIsCancelled(second, waiting)
	got := p.checkRunningRunIsCancelled(running, longText)
	if text, last := there.finish(t); text != got || last.FinishReason != "cancelled" {
		t.Errorf("on the other instance: text %q, final event %+v, want %q", text, last, got)
	}

	// then: the next queued run starts, streams on the other instance are complete, and cancelling again has no effect
	checkWhole(t, "the queued reply", behind.streamReader, briefText)
	checkWhole(t, "on the writing instance", whole.streamReader, briefText)
	checkWhole(t, "on the other instance", wholeThere, briefText)
	for _, c := range []client{first, second} {
		c.checkCancelReturns(running.run, "cancelled")
		c.checkCancelReturns(whole.run, "completed")
	}
	stored := second.messages(running.conversation)
	if len(stored) != 5 || stored[3].Content != got || stored[4].Content != briefText {
		t.Errorf("stored: %+v", stored)
	}
	if n := number(t, p.conn, "SELECT count(*) FROM records WHERE session_id = $1", running.conversation); n != 3 {
		t.Errorf("%d records of 3 runs", n)
	}
	p.first.stop()
	p.second.stop()
}

// checkQueuedRunIsCancelled cancels a queued run, which must end without a text.
func checkQueuedRunIsCancelled(c client, queued completionStream) {
	c.t.Helper()
	c.checkCancelReturns(queued.run, "cancelled")
	if got, last := queued.finish(c.t); got != "" || last.FinishReason != "cancelled" || last.Error != nil {
		c.t.Errorf("the queued run: text %q, final event %+v", got, last)
	}
}

// checkRunningRunIsCancelled cancels a run in progress on the second instance, which must stop it within about a second.
// It returns the text so far, a part of the whole text.
func (p pair) checkRunningRunIsCancelled(running completionStream, whole string) string {
	_, second := p.clients()
	t := second.t
	t.Helper()
	began := time.Now()
	if ended := second.checkCancelReturns(running.run, "cancelled"); ended.FinishReason != "cancelled" || ended.Error != nil {
		t.Errorf("the cancelled run is %+v", ended)
	}
	got, last := running.finish(t)
	stopped := number(t, p.conn, "SELECT (1000 * extract(epoch FROM finished_at - $2))::integer FROM runs WHERE id = $1", running.run, began)
	if stopped > 1500 { // with some tolerance for a busy machine
		t.Errorf("the run stopped after %d ms", stopped)
	}
	if got == "" || got == whole || !strings.HasPrefix(whole, got) || last.FinishReason != "cancelled" || last.Error != nil {
		t.Errorf("text %q, final event %+v", got, last)
	}
	return got
}

// checkCancelReturns cancels a run, which must then have the state.
func (c client) checkCancelReturns(run, state string) apiRun {
	c.t.Helper()
	var ended apiRun
	c.call("POST", "/api/runs/"+run+"/cancel/", nil, http.StatusOK, &ended)
	if ended.State != state {
		c.t.Errorf("after the cancel, the run is %+v, want the state %s", ended, state)
	}
	return ended
}

func TestUnfinishedRunsOfStoppingInstanceAreRescued(t *testing.T) {
	t.Parallel()
	// given: two instances with replies that take longer and shorter than the grace period, and queued ones
	p := servingPair(t)
	first, second := p.clients()
	long, longText := scriptRule("long", 40, 1000)
	brief, briefText := scriptRule("brief", 20, 200)
	first.createScriptedBot("slow", long, brief)
	quick, _ := scriptRule("long", 40, 0)

	overlong := first.stream("slow", "", "long")
	behindOverlong := first.stream("slow", overlong.conversation, "brief")
	short := first.stream("slow", "", "brief")
	behindShort := second.stream("slow", short.conversation, "brief")
	others := second.stream("slow", "", "brief")
	behindOthers := first.stream("slow", others.conversation, "brief")
	there := second.resume(overlong.run)
	thereBehind := second.resume(behindOverlong.run)
	eventually(t, "the first replies have started", func() bool {
		return len(overlong.received()) > 0 && len(short.received()) > 0 && len(others.received()) > 0
	})

	// when: one instance is stopped
	began := time.Now()
	p.first.signal(syscall.SIGTERM)

	// then: streams of runs that it can no longer start end immediately
	checkUnavailable(t, "queued behind the overlong reply", behindOverlong.streamReader, "")
	checkUnavailable(t, "queued behind a reply of the other instance", behindOthers.streamReader, "")
	if waited := time.Since(began); waited > replyGracePeriod/2 {
		t.Errorf("these streams ended after %s", waited)
	}
	// and: it finishes short replies and releases the others
	checkWhole(t, "the short reply", short.streamReader, briefText)
	checkRun(second, short.run, "completed", 1)
	checkRun(second, overlong.run, "running", 1) // during the grace period
	second.call("PATCH", "/api/chatbots/slow/", object{"script": object{"rules": []object{quick, brief}}}, http.StatusOK, nil)
	checkUnavailable(t, "the overlong reply", overlong.streamReader, longText)
	if code := p.first.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.first.expectNoProcesses()
	within(t, soon, "the other instance claims the released run", func() bool { return second.run(overlong.run).Attempt == 2 })

	// and: the other instance completes all of them, once
	checkWhole(t, "the overlong reply on the other instance", there, longText)
	checkWhole(t, "queued behind it on the other instance", thereBehind, briefText)
	checkWhole(t, "queued behind the short reply", behindShort.streamReader, briefText)
	checkWhole(t, "the other instance's own reply", others.streamReader, briefText)
	checkWhole(t, "queued behind that", second.resume(behindOthers.run), briefText)
	checkRun(second, overlong.run, "completed", 2)
	p.checkAnsweredOnce(t, second, overlong.conversation, longText, briefText)
	p.checkAnsweredOnce(t, second, short.conversation, briefText, briefText)
	p.checkAnsweredOnce(t, second, others.conversation, briefText, briefText)
	p.second.stop()
}

func checkRun(c client, id, state string, attempt int) {
	c.t.Helper()
	if run := c.run(id); run.State != state || run.Attempt != attempt {
		c.t.Errorf("the run is %+v, want the state %s and the attempt %d", run, state, attempt)
	}
}

// checkUnavailable waits for the end of a stream that has a prefix of the text and ends with the error unavailable.
func checkUnavailable(t *testing.T, what string, l *streamReader, text string) {
	t.Helper()
	got, last := l.finish(t)
	if last.Error == nil || last.Error.Error != "unavailable" || last.FinishReason != "error" || !strings.HasPrefix(text, got) {
		t.Errorf("%s: text %q, final event %+v", what, got, last)
	}
}
