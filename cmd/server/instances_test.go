package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// soon is far less than a lease.
const soon = 8 * time.Second

// pair is two servers on one database, without Redis.
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

// clients speak to either server as the same user.
func (p pair) clients() (first, second client) {
	return p.first.client(p.first.key), p.second.client(p.first.key)
}

// asking is a question and the stream that was opened with it.
type asking struct {
	*listening

	conversation, run string
}

// stream asks a bot, in a new conversation when none is named.
func (c client) stream(bot, conversation, content string) asking {
	c.t.Helper()
	body := object{"conversation": conversation, "isStreaming": true, "message": object{"content": content}}
	l, header := c.listenWithHeader("POST", "/api/chatbots/"+bot+"/completions/", body)
	run := header.Get("X-Run-Id")
	if conversation == "" {
		var found struct{ Conversation string }
		c.call("GET", "/api/runs/"+run+"/", nil, http.StatusOK, &found)
		conversation = found.Conversation
	}
	return asking{listening: l, conversation: conversation, run: run}
}

// resume listens to a run.
func (c client) resume(run string) *listening {
	c.t.Helper()
	return c.listen("GET", "/api/runs/"+run+"/events/", nil)
}

// checkAnsweredOnce checks that a conversation is questions and their answers, by the
// texts, and that each run has left one record.
func (p pair) checkAnsweredOnce(t *testing.T, c client, conversation string, texts ...string) {
	t.Helper()
	stored := c.messages(conversation)
	var found []string
	for i, one := range stored {
		if one.Seq != int64(i+1) {
			t.Errorf("message %d has the seq %d", i+1, one.Seq)
		}
		if one.Type == "outgoing" {
			found = append(found, one.Content)
		}
	}
	if len(stored) != 2*len(texts) || strings.Join(found, "\n") != strings.Join(texts, "\n") {
		t.Errorf("stored are %+v, the answers are to be %q", stored, texts)
	}
	if n := number(t, p.conn, "SELECT count(*) FROM records WHERE session_id = $1", conversation); n != len(texts) {
		t.Errorf("there are %d records of %d answers", n, len(texts))
	}
}

// checkWhole waits for the end of a stream that has the whole text and ends well.
func checkWhole(t *testing.T, what string, l *listening, text string) {
	t.Helper()
	told, last := l.all(t)
	if told != text || last.Error != nil || last.FinishReason != "stop" {
		t.Errorf("%s: it tells %q and ends with %+v", what, told, last)
	}
}

func TestAServerThatIsPausedBeyondItsLeaseAnswersNothingTwice(t *testing.T) {
	t.Parallel()
	// given a server that writes replies, to which is listened there and at another one: a long
	// one, a brief one, and one whose end is due as soon as the server goes on
	p := servingPair(t)
	first, second := p.clients()
	brief, briefText := says("brief", 8, 200)
	long, longText := says("long", 16, 400)
	due, dueText := says("due", 2, 3000)
	first.scripted("slow", brief, long, due)
	texts := map[string]string{"long": longText, "brief": briefText, "due": dueText}
	asked := map[string]asking{}
	elsewhere := map[string]*listening{}
	for _, question := range []string{"due", "long", "brief"} {
		asked[question] = first.stream("slow", "", question)
		elsewhere[question] = second.resume(asked[question].run)
		eventually(t, "the first delta", func() bool { return len(asked[question].heard()) > 0 })
	}

	// when it is paused until the other one has taken the runs over, finished one of them and
	// is writing the other
	p.first.signal(syscall.SIGSTOP)
	within(t, time.Minute, "the other's answer", func() bool {
		return second.run(asked["brief"].run).State == "completed" && second.run(asked["long"].run).Attempt == 2
	})
	if run := second.run(asked["long"].run); run.State != "running" {
		t.Errorf("the long reply was to be written still: %+v", run)
	}
	p.first.signal(syscall.SIGCONT)

	// then each question has one answer, and all who listen have it whole
	for question, text := range texts {
		checkWhole(t, question+" at the one that was paused", asked[question].listening, text)
		checkWhole(t, question+" at the other one", elsewhere[question], text)
		for _, c := range []client{first, second} {
			if run := c.run(asked[question].run); run.State != "completed" || run.Attempt != 2 || run.Error != nil {
				t.Errorf("%s: %+v", question, run)
			}
			checkWhole(t, question+" afterwards", c.resume(asked[question].run), text)
			p.checkAnsweredOnce(t, c, asked[question].conversation, text)
		}
	}

	// and the one that was paused answers what is asked next
	next := first.stream("slow", asked["brief"].conversation, "brief")
	checkWhole(t, "the next one", next.listening, briefText)
	p.checkAnsweredOnce(t, second, asked["brief"].conversation, briefText, briefText)
	p.first.stop()
	p.second.stop()
}

func TestARunIsCancelledAndFollowedAtAnyInstance(t *testing.T) {
	t.Parallel()
	// given replies that one server writes, and one that waits behind them, to which is listened
	// at both
	p := servingPair(t)
	first, second := p.clients()
	long, longText := says("long", 600, 100)
	brief, briefText := says("brief", 30, 100)
	first.scripted("slow", long, brief)
	asked := first.stream("slow", "", "long")
	waiting := first.stream("slow", asked.conversation, "brief, but never")
	behind := first.stream("slow", asked.conversation, "brief")
	whole := first.stream("slow", "", "brief")
	there, wholeThere := second.resume(asked.run), second.resume(whole.run)
	eventually(t, "the beginning", func() bool { return len(asked.heard()) > 3 })
	if run := second.run(asked.run); run.State != "running" {
		t.Errorf("it is not being written: %+v", run)
	}

	// when what waits is cancelled through the other one, it is never begun
	var ended apiRun
	second.call("POST", "/api/runs/"+waiting.run+"/cancel/", nil, http.StatusOK, &ended)
	if ended.State != "cancelled" {
		t.Errorf("what waited is %+v", ended)
	}
	if told, last := waiting.all(t); told != "" || last.FinishReason != "cancelled" || last.Error != nil {
		t.Errorf("what waited tells %q and ends with %+v", told, last)
	}

	// and when what is being written is, it stops within a second, though it is told there a
	// little later
	began := time.Now()
	second.call("POST", "/api/runs/"+asked.run+"/cancel/", nil, http.StatusOK, &ended)
	told, last := asked.all(t)
	stopped := number(t, p.conn, "SELECT (1000 * extract(epoch FROM finished_at - $2))::integer FROM runs WHERE id = $1", asked.run, began)
	if stopped > 1500 { // a busy machine is granted some
		t.Errorf("it stopped after %d ms", stopped)
	}
	if ended.State != "cancelled" || ended.FinishReason != "cancelled" || ended.Error != nil {
		t.Errorf("the cancelled run is %+v", ended)
	}
	if told == "" || told == longText || !strings.HasPrefix(longText, told) || last.FinishReason != "cancelled" || last.Error != nil {
		t.Errorf("it tells %q and ends with %+v", told, last)
	}
	if text, last := there.all(t); text != told || last.FinishReason != "cancelled" {
		t.Errorf("the other one tells %q and ends with %+v, not %q", text, last, told)
	}

	// then what waits behind it is answered, what is followed at the other one is told whole, and
	// it is no matter to cancel again
	checkWhole(t, "behind it", behind.listening, briefText)
	checkWhole(t, "where it is written", whole.listening, briefText)
	checkWhole(t, "where it is not", wholeThere, briefText)
	for _, c := range []client{first, second} {
		c.call("POST", "/api/runs/"+asked.run+"/cancel/", nil, http.StatusOK, &ended)
		if ended.State != "cancelled" {
			t.Errorf("again: %+v", ended)
		}
		c.call("POST", "/api/runs/"+whole.run+"/cancel/", nil, http.StatusOK, &ended)
		if ended.State != "completed" {
			t.Errorf("too late: %+v", ended)
		}
	}
	stored := second.messages(asked.conversation)
	if len(stored) != 5 || stored[3].Content != told || stored[4].Content != briefText {
		t.Errorf("stored are %+v", stored)
	}
	if n := number(t, p.conn, "SELECT count(*) FROM records WHERE session_id = $1", asked.conversation); n != 3 {
		t.Errorf("there are %d records of 3 runs", n)
	}
	p.first.stop()
	p.second.stop()
}

func TestWhatAStoppingServerCannotFinishIsAnsweredByTheOther(t *testing.T) {
	t.Parallel()
	// given two servers that write replies, longer and shorter than the grace of a stop, with
	// others waiting behind them
	p := servingPair(t)
	first, second := p.clients()
	long, longText := says("long", 40, 1000)
	brief, briefText := says("brief", 20, 200)
	first.scripted("slow", long, brief)
	quick, _ := says("long", 40, 0)

	overlong := first.stream("slow", "", "long")
	behindOverlong := first.stream("slow", overlong.conversation, "brief")
	short := first.stream("slow", "", "brief")
	behindShort := second.stream("slow", short.conversation, "brief")
	others := second.stream("slow", "", "brief")
	behindOthers := first.stream("slow", others.conversation, "brief")
	there := second.resume(overlong.run)
	thereBehind := second.resume(behindOverlong.run)
	eventually(t, "the beginning of those that can begin", func() bool {
		return len(overlong.heard()) > 0 && len(short.heard()) > 0 && len(others.heard()) > 0
	})

	// when one of them is told to stop
	began := time.Now()
	p.first.signal(syscall.SIGTERM)

	// then what it cannot begin any more ends at once for who waits there
	for what, one := range map[string]asking{"behind the overlong one": behindOverlong, "behind the other's": behindOthers} {
		checkUnavailable(t, what, one.listening, "")
	}
	if waited := time.Since(began); waited > replyGracePeriod/2 {
		t.Errorf("those who wait in vain are told so after %s", waited)
	}
	// what it can finish it does, and what it cannot it gives back
	checkWhole(t, "what is short enough", short.listening, briefText)
	if run := second.run(short.run); run.Attempt != 1 {
		t.Errorf("the short run is %+v", run)
	}
	if run := second.run(overlong.run); run.State != "running" || run.Attempt != 1 {
		t.Errorf("while the grace lasts the overlong run is %+v", run)
	}
	second.call("PATCH", "/api/chatbots/slow/", object{"script": object{"rules": []object{quick, brief}}}, http.StatusOK, nil)
	checkUnavailable(t, "the overlong one", overlong.listening, longText)
	if code := p.first.awaitEnd(patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	p.first.mustBeAlone()
	within(t, soon, "the taking up of what was given back", func() bool { return second.run(overlong.run).Attempt == 2 })

	// and the other one answers all of it, once
	checkWhole(t, "the overlong one at the other", there, longText)
	checkWhole(t, "behind it at the other", thereBehind, briefText)
	checkWhole(t, "behind the short one", behindShort.listening, briefText)
	checkWhole(t, "the other's own", others.listening, briefText)
	checkWhole(t, "behind that", second.resume(behindOthers.run), briefText)
	if run := second.run(overlong.run); run.State != "completed" || run.Attempt != 2 {
		t.Errorf("the overlong run is %+v", run)
	}
	p.checkAnsweredOnce(t, second, overlong.conversation, longText, briefText)
	p.checkAnsweredOnce(t, second, short.conversation, briefText, briefText)
	p.checkAnsweredOnce(t, second, others.conversation, briefText, briefText)
	p.second.stop()
}

// checkUnavailable waits for the end of a stream that tells some of a text and then that
// no more is to be had here.
func checkUnavailable(t *testing.T, what string, l *listening, text string) {
	t.Helper()
	told, last := l.all(t)
	if last.Error == nil || last.Error.Error != "unavailable" || last.FinishReason != "error" || !strings.HasPrefix(text, told) {
		t.Errorf("%s: it tells %q and ends with %+v", what, told, last)
	}
}
