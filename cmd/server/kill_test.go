package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// kills is how often a server is killed.
const kills = 20

func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given servers that were killed under load at any moment, one after the other, with
	// their PostgreSQL or without
	dir := newDir(t)
	server := serving(t, dir)
	asked := server.client(server.key)
	slow, _ := says("", 8, 40)
	asked.scripted("slow", slow)
	to := place{Key: server.key, Seed: seed}
	for _, bot := range []string{"slow", "slow", "parley"} {
		to.Conversations = append(to.Conversations, talk{Conversation: asked.startWith(bot), Bot: bot})
	}
	load := startLoad(t)
	for i := range kills {
		if i > 0 {
			server = serving(t, dir)
		}
		to.Base = server.base
		load.moveTo(to)
		// Nothing is waited for: the kill comes at any moment.
		<-time.After(time.Duration(random.IntN(1200)) * time.Millisecond)
		if random.IntN(2) == 0 {
			server.kill()
		} else {
			server.killAll()
		}
	}
	notes := load.end()

	// when the next one has come to rest
	server = serving(t, dir)
	conn := connect(t, server)
	within(t, time.Minute, "the end of all runs", func() bool {
		return number(t, conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})

	// then what was acknowledged is there, once and in its place, and every question has its
	// answer or a run that says why not
	reader := server.client(to.Key)
	for _, one := range to.Conversations {
		checkConversation(t, reader, one.Conversation, notes)
	}
	again := number(t, conn, "SELECT count(*) FROM runs WHERE attempt > 1")
	if again == 0 || len(notes) < 10*kills {
		t.Errorf("that was no test: %d notes, %d runs were taken up again", len(notes), again)
	}
	if n := number(t, conn, `SELECT count(*) FROM runs FULL JOIN records USING (organization_id, id)
		WHERE runs.state IS DISTINCT FROM records.status OR runs.session_id <> records.session_id`); n != 0 {
		t.Errorf("%d runs have no record of their own", n)
	}
	t.Logf("%d notes, %d runs, %d of them were taken up again, %d failed", len(notes), number(t, conn, "SELECT count(*) FROM runs"),
		again, number(t, conn, "SELECT count(*) FROM runs WHERE state = 'failed'"))
	server.stop()
}

// checkConversation holds a conversation against what was noted of it.
func checkConversation(t *testing.T, c client, conversation string, notes []note) {
	t.Helper()
	stored := c.messages(conversation)
	asked := map[string][]message{} // by content
	answers := map[string]message{} // by run
	for i, one := range stored {
		if one.Seq != int64(i+1) {
			t.Fatalf("message %d has the seq %d", i+1, one.Seq)
		}
		if i > 0 && one.CreatedAt <= stored[i-1].CreatedAt {
			t.Errorf("seq %d is of %s, the one before it of %s", one.Seq, one.CreatedAt, stored[i-1].CreatedAt)
		}
		if one.Type == "incoming" {
			asked[one.Content] = append(asked[one.Content], one)
			continue
		}
		if earlier, ok := answers[one.RunID]; ok {
			t.Errorf("the run %s has answered twice, seq %d and %d", one.RunID, earlier.Seq, one.Seq)
		}
		answers[one.RunID] = one
	}
	checkAnswers(t, c, stored, answers)

	expected := map[string]bool{}
	readings := map[string][]event{}
	for _, one := range notes {
		if one.Conversation != conversation {
			continue
		}
		expected[one.Content] = true
		found := asked[one.Content]
		switch one.Kind {
		case noteRefused:
			t.Errorf("%q was refused: %s", one.Content, one.Why)
		case noteAcknowledged:
			if len(found) != 1 || found[0].RunID != one.Run {
				t.Errorf("acknowledged was %+v, stored is %+v", one, found)
			} else if m := one.Message; m.ID != "" && (found[0].ID != m.ID || found[0].Seq != m.Seq || found[0].CreatedAt != m.Timestamp) {
				t.Errorf("acknowledged was %+v, stored is %+v", m, found[0])
			}
		case noteEvent:
			one.Event.ID = one.EventID
			readings[one.Reading] = append(readings[one.Reading], one.Event)
		}
	}
	for content, found := range asked {
		if len(found) > 1 || !expected[content] {
			t.Errorf("%q is stored %d times: %+v", content, len(found), found)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(readings)) {
		checkReading(t, c, name, readings[name], answers)
	}
}

// checkAnswers checks that the answers are in the order of the questions, and that each
// question without one has a run that says so.
func checkAnswers(t *testing.T, c client, stored []message, answers map[string]message) {
	t.Helper()
	runs := map[string]bool{}
	var last int64
	for _, question := range stored {
		if question.Type != "incoming" {
			continue
		}
		runs[question.RunID] = true
		answer, ok := answers[question.RunID]
		if !ok {
			if run := c.run(question.RunID); run.State != "failed" || run.Error == nil || run.FinishReason != "error" {
				t.Errorf("seq %d has no answer, and its run is %+v", question.Seq, run)
			}
			continue
		}
		if answer.Seq <= max(question.Seq, last) {
			t.Errorf("the answer to seq %d is seq %d, the one before it seq %d", question.Seq, answer.Seq, last)
		}
		last = answer.Seq
	}
	for run, answer := range answers {
		if !runs[run] {
			t.Errorf("seq %d answers no question", answer.Seq)
		}
	}
}

// checkReading holds what one reader of a reply has got against what is stored.
func checkReading(t *testing.T, c client, name string, events []event, answers map[string]message) {
	t.Helper()
	last := events[len(events)-1]
	answer := answers[last.RunID]
	text := textOf(events)
	switch {
	case answer.Content == "":
		if run := c.run(last.RunID); run.State != "failed" || last.Done && last.Error == nil {
			t.Errorf("reading %s: it ended with %+v, and the run is %+v", name, last, run)
		}
	case !strings.HasPrefix(answer.Content, text), last.Done && (last.Error != nil || text != answer.Content || last.MessageID != answer.ID):
		t.Errorf("reading %s: %q, ended with %+v; stored is %q", name, text, last, answer.Content)
	}
	if i := slices.IndexFunc(events, func(one event) bool { return one.Done }); i >= 0 && i < len(events)-1 {
		t.Errorf("reading %s: it went on after its end: %+v", name, events[i+1:])
	}
	for i, one := range events[1:] {
		if before := events[i]; one.RunID != before.RunID {
			t.Errorf("reading %s: the run changes from %s to %s", name, before.RunID, one.RunID)
		}
	}
}
