package chat_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/realtime"
	"parley/internal/redistest"
)

// soon is well before the look that instances without Redis take every two seconds.
const soon = time.Second

// joined is a cluster whose instances are joined by a Redis.
type joined struct {
	*cluster
	redis *redistest.Server
}

func newJoined(t *testing.T) *joined {
	t.Helper()
	return &joined{cluster: newCluster(t), redis: redistest.Start(t)}
}

// instance starts another instance, and waits until it hears the others.
func (j *joined) instance() *chat.Chat {
	j.t.Helper()
	c, _ := j.linked(time.Minute)
	return c
}

func (j *joined) linked(visitTTL time.Duration) (*chat.Chat, *realtime.Redis) {
	j.t.Helper()
	link, err := realtime.Open(j.t.Context(), j.redis.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(link.Close)
	c := j.instanceOf(chat.Config{Link: link, VisitTTL: visitTTL})
	eventually(j.t, "it listens", c.HearsOthers)
	return c, link
}

// scripted has the default bot say a script.
func (j *joined) scripted(rules ...bot.ScriptRule) {
	j.t.Helper()
	bots := bottest.New(j.open(), nil)
	if _, err := bots.Update(j.t.Context(), j.who.OrganizationID, "parley", bot.Change{Engine: new("scripted"), Script: &bot.Script{Rules: rules}}); err != nil {
		j.t.Fatal(err)
	}
}

// slowly says so many pieces, one after the other.
func slowly(count, delayMS int) (rule bot.ScriptRule, whole string) {
	for i := range count {
		rule.Deltas = append(rule.Deltas, fmt.Sprintf("%d 重設 ", i))
	}
	rule.DelayMS = delayMS
	return rule, strings.Join(rule.Deltas, "")
}

// silent says a piece and then nothing, for a minute.
func silent() bot.ScriptRule {
	return bot.ScriptRule{Deltas: []string{"First 重 ", "and last."}, SilentAfter: new(1)}
}

func (j *joined) watch(c *chat.Chat, conversation string) *chat.Watch {
	j.t.Helper()
	watch, err := c.Watch(j.t.Context(), j.who, conversation)
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(watch.Close)
	return watch
}

// quiet begins a conversation that the bot stays out of.
func (j *joined) quiet(c *chat.Chat) string {
	j.t.Helper()
	begun, err := c.Begin(j.t.Context(), j.who, nil, nil, nil)
	if err != nil {
		j.t.Fatal(err)
	}
	conversation := begun.ConversationID.String()
	if _, err := c.Update(j.t.Context(), j.who, conversation, chat.Change{AutoReply: new(false)}); err != nil {
		j.t.Fatal(err)
	}
	return conversation
}

func (j *joined) send(c *chat.Chat, conversation, content string) chat.Sent {
	j.t.Helper()
	sent, err := c.Send(j.t.Context(), j.who, conversation, chat.NewMessage{Content: content})
	if err != nil {
		j.t.Fatal(err)
	}
	return sent
}

// event waits for the next one that is so.
func event(t *testing.T, watch *chat.Watch, isSo func(*chat.Event) bool) *chat.Event {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		select {
		case got := <-watch.Events:
			if isSo(got) {
				return got
			}
		case <-deadline.C:
			t.Fatal("it is never told")
		}
	}
}

// follower listens to a reply and keeps what it has heard.
type follower struct {
	t      *testing.T
	chat   *chat.Chat
	reply  *chat.Reply
	at     chat.Position
	heard  string
	deltas int
	resets int
}

func (j *joined) follow(c *chat.Chat, reply *chat.Reply) *follower {
	return &follower{t: j.t, chat: c, reply: reply, at: reply.Beginning()}
}

// resume follows a run at an instance.
func (j *joined) resume(c *chat.Chat, sent chat.Sent) *follower {
	j.t.Helper()
	reply, err := c.Resume(j.t.Context(), j.who, sent.RunID.String())
	if err != nil {
		j.t.Fatal(err)
	}
	return j.follow(c, reply)
}

// next takes what comes next; the outcome when it is the end.
func (f *follower) next() *chat.Outcome {
	f.t.Helper()
	delta, after, isReset, outcome, err := f.chat.Follow(f.t.Context(), f.reply, f.at, 30*time.Second)
	if err != nil || delta == "" && !isReset && outcome == nil {
		f.t.Fatalf("after %q nothing comes: %v", f.heard, err)
	}
	if isReset {
		f.heard = ""
		f.resets++
	}
	if delta != "" {
		f.deltas++
	}
	f.heard, f.at = f.heard+delta, after
	if len(f.heard) != f.at.Offset || strings.ToValidUTF8(f.heard, "") != f.heard {
		f.t.Errorf("%q ends at %v", f.heard, f.at)
	}
	return outcome
}

// whole follows to the end, which must be that of a text.
func (f *follower) whole(text string) {
	f.t.Helper()
	outcome := f.next()
	for outcome == nil {
		outcome = f.next()
	}
	if f.heard != text || outcome.Content != text || outcome.State != "completed" {
		f.t.Errorf("heard %q, %+v", f.heard, outcome)
	}
}

func TestAMessageIsHeardAtAnotherInstanceAtOnce(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	conversation := j.quiet(one)
	first, second := j.watch(two, conversation), j.watch(two, conversation)
	for seq := int64(1); seq <= 20; seq++ {
		began := time.Now()
		sent := j.send([]*chat.Chat{one, two}[seq%2], conversation, fmt.Sprint("Message ", seq))
		isMessage := func(e *chat.Event) bool { return e.Message != nil && e.Message.Seq == seq }
		got, same := event(t, first, isMessage), event(t, second, isMessage)
		if took := time.Since(began); took > soon {
			t.Errorf("it takes %v", took)
		}
		if got != same || got.Message.ID != sent.MessageID || got.Message.Content != fmt.Sprint("Message ", seq) {
			t.Errorf("%+v, %+v", got.Message, same.Message)
		}
	}
}

// What many instances send at once is told in order; where it is not, it can be read up.
func TestManyMessagesOfManyInstancesAreHeard(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	instances := []*chat.Chat{j.instance(), j.instance(), j.instance()}
	conversation := j.quiet(instances[0])
	watch := j.watch(instances[0], conversation)
	const count = 90
	go func() {
		for i := range count {
			if _, err := instances[i%3].Send(t.Context(), j.who, conversation, chat.NewMessage{Content: "x"}); err != nil {
				t.Error(err)
			}
		}
	}()
	for last := int64(0); last < count; {
		got := event(t, watch, func(e *chat.Event) bool { return e.Message == nil || e.Message.Seq > last })
		if got.Message != nil && got.Message.Seq == last+1 {
			last++
			continue
		}
		missed, err := watch.Since(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		last += int64(len(missed))
	}
}

func TestAReplyGrowsAtEveryInstance(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	rule, text := slowly(60, 20)
	j.scripted(rule)
	begun, err := one.Begin(t.Context(), j.who, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conversation := begun.ConversationID.String()
	watch := j.watch(two, conversation)
	sent := j.send(one, conversation, "Go")

	// A watcher elsewhere is told of its beginning and hears it grow.
	replying := event(t, watch, func(e *chat.Event) bool { return e.Reply != nil })
	if replying.Reply.RunID != *sent.RunID {
		t.Errorf("%v is told of, not %v", replying.Reply.RunID, sent.RunID)
	}
	watching := j.follow(two, replying.Reply)
	for watching.deltas < 5 {
		watching.next()
	}
	// Who comes later gets what there is, and goes on from any position that the other gave.
	here := j.resume(one, sent)
	for here.deltas < 10 {
		here.next()
	}
	there := j.resume(two, sent)
	there.at, there.heard = here.at, here.heard
	late := j.resume(two, sent)
	late.next()
	for _, f := range []*follower{watching, here, there, late} {
		f.whole(text)
		if f.resets > 0 || f.at.Attempt != 1 {
			t.Errorf("%d resets, at %v", f.resets, f.at)
		}
	}
	if watching.deltas < 10 || there.deltas < 5 {
		t.Errorf("it came in %d and %d pieces", watching.deltas, there.deltas)
	}
	// The message comes when the reply has ended for who follows it.
	event(t, watch, func(e *chat.Event) bool {
		return e.Message != nil && e.Message.Sender == "bot" && e.Message.Content == text
	})
}

func TestTheEndOfAReplyIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	j.scripted(bot.ScriptRule{Match: "fail", Deltas: []string{"x"}, DelayMS: 300, FailAfter: new(0)}, bot.ScriptRule{Deltas: []string{"Brief."}, DelayMS: 300})
	for _, question := range []string{"brief", "fail"} {
		begun, err := one.Begin(t.Context(), j.who, nil, &chat.NewMessage{Content: question}, nil)
		if err != nil {
			t.Fatal(err)
		}
		there := j.resume(two, begun)
		here := j.resume(one, begun)
		for here.next() == nil {
		}
		ended := time.Now()
		outcome := there.next()
		for outcome == nil {
			outcome = there.next()
		}
		if took := time.Since(ended); took > soon || (outcome.Err != nil) != (question == "fail") {
			t.Errorf("%s: after %v it is %+v", question, took, outcome)
		}
	}
}

func TestCancelStopsAReplyOfAnotherInstanceAtOnce(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	j.scripted(silent())
	for range 3 {
		sent := j.begin(one)
		here, there := j.resume(one, sent), j.resume(two, sent)
		here.next()
		there.next()
		waits := j.send(two, sent.ConversationID.String(), "Waits")
		atOne := j.resume(one, waits)
		for _, cancelled := range []chat.Sent{waits, sent} {
			began := time.Now()
			run, err := two.Cancel(t.Context(), j.who, cancelled.RunID.String(), nil)
			if took := time.Since(began); err != nil || run.State != "cancelled" || took > soon {
				t.Errorf("%+v after %v: %v", run, took, err)
			}
		}
		for _, f := range []*follower{here, there, atOne} {
			outcome := f.next()
			if outcome == nil || outcome.State != "cancelled" || outcome.Content != f.heard {
				t.Errorf("heard %q, %+v", f.heard, outcome)
			}
		}
	}
}

func TestFeedbackIsHeardAtAnotherInstance(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	conversation := j.quiet(one)
	sent := j.send(one, conversation, "Good")
	watch := j.watch(two, conversation)
	for _, feedback := range []*string{new("like"), nil} {
		began := time.Now()
		if _, err := one.Rate(t.Context(), j.who, sent.MessageID.String(), feedback); err != nil {
			t.Fatal(err)
		}
		got := event(t, watch, func(e *chat.Event) bool { return e.Rated != nil })
		if got.Rated.ID != sent.MessageID || (got.Rated.Feedback == nil) != (feedback == nil) || time.Since(began) > soon {
			t.Errorf("%+v after %v", got.Rated, time.Since(began))
		}
	}
}

func TestADeletedConversationEndsItsReplyElsewhere(t *testing.T) {
	t.Parallel()
	j := newJoined(t)
	one, two := j.instance(), j.instance()
	j.scripted(silent())
	sent := j.begin(one)
	there := j.resume(two, sent)
	there.next()
	if err := two.Delete(t.Context(), j.who, sent.ConversationID.String()); err != nil {
		t.Fatal(err)
	}
	if outcome := there.next(); outcome == nil || outcome.Err == nil {
		t.Errorf("%+v", outcome)
	}
	eventually(t, "nobody writes it", func() bool { return one.LiveReplies()+two.LiveReplies() == 0 })
}
