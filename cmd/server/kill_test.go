package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// kills is the number of kills.
const kills = 20

func TestKillLosesNoAcknowledgedMessage(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// given: servers that are killed under load at random moments, with or without their PostgreSQL
	dir := newDir(t)
	server := serving(t, dir)
	api := server.client(server.key)
	slow, _ := scriptRule("", 8, 40)
	api.createScriptedBot("slow", slow)
	to := target{Key: server.key, Seed: seed}
	for _, bot := range []string{"slow", "slow", "parley"} {
		to.Conversations = append(to.Conversations, talk{Conversation: api.startWith(bot), Bot: bot})
	}
	load := startLoad(t)
	for i := range kills {
		if i > 0 {
			server = serving(t, dir)
		}
		to.Base = server.base
		load.moveTo(to)
		// The kill comes at a random moment.
		<-time.After(time.Duration(random.IntN(1200)) * time.Millisecond)
		if random.IntN(2) == 0 {
			server.kill()
		} else {
			server.killAll()
		}
	}
	notes := load.end()

	// when: the next server has completed all runs
	server = serving(t, dir)
	conn := connect(t, server)
	within(t, time.Minute, "all runs have ended", func() bool {
		return number(t, conn, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')") == 0
	})

	// then: every acknowledged message is stored once and in order, and every question has a reply or a failed run
	reader := server.client(to.Key)
	questions := questionsByRun(t, conn)
	for _, conversation := range to.Conversations {
		checkConversation(t, reader, conversation.Conversation, notes, questions)
	}
	again := number(t, conn, "SELECT count(*) FROM runs WHERE attempt > 1")
	if again == 0 || len(notes) < 10*kills {
		t.Errorf("too little load for a meaningful test: %d notes, %d rescued runs", len(notes), again)
	}
	if n := number(t, conn, `SELECT count(*) FROM runs FULL JOIN records USING (organization_id, id)
		WHERE runs.state IS DISTINCT FROM records.status OR runs.session_id <> records.session_id`); n != 0 {
		t.Errorf("%d runs have no record", n)
	}
	t.Logf("%d notes, %d runs, %d of them rescued, %d failed", len(notes), number(t, conn, "SELECT count(*) FROM runs"),
		again, number(t, conn, "SELECT count(*) FROM runs WHERE state = 'failed'"))
	server.stop()
}

// questionsByRun returns the ID of the message that each run answers. A request that is repeated after
// a failure starts another run for the same message.
func questionsByRun(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT id::text, question_id::text FROM runs")
	if err != nil {
		t.Fatal(err)
	}
	questions := map[string]string{}
	var run, question string
	if _, err := pgx.ForEachRow(rows, []any{&run, &question}, func() error { questions[run] = question; return nil }); err != nil {
		t.Fatal(err)
	}
	return questions
}

// checkConversation compares a stored conversation with the notes of the load process. questionOf has
// the question of each run.
func checkConversation(t *testing.T, c client, conversation string, notes []note, questionOf map[string]string) {
	t.Helper()
	stored := c.messages(conversation)
	questions := map[string][]message{} // by content
	answers := map[string]message{}     // by run
	for i, m := range stored {
		if m.Seq != int64(i+1) {
			t.Fatalf("message %d: seq %d", i+1, m.Seq)
		}
		if i > 0 && m.CreatedAt <= stored[i-1].CreatedAt {
			t.Errorf("seq %d was created at %s, the m before it at %s", m.Seq, m.CreatedAt, stored[i-1].CreatedAt)
		}
		if m.Type == "incoming" {
			questions[m.Content] = append(questions[m.Content], m)
			continue
		}
		if earlier, ok := answers[m.RunID]; ok {
			t.Errorf("run %s has two replies, seq %d and %d", m.RunID, earlier.Seq, m.Seq)
		}
		answers[m.RunID] = m
	}
	checkAnswers(t, c, stored, answers, questionOf)

	expected := map[string]bool{}
	readings := map[string][]event{}
	for _, n := range notes {
		if n.Conversation != conversation {
			continue
		}
		expected[n.Content] = true
		found := questions[n.Content]
		switch n.Kind {
		case noteRefused:
			t.Errorf("%q was refused: %s", n.Content, n.Why)
		case noteAcknowledged:
			if len(found) != 1 || found[0].RunID != n.Run && questionOf[n.Run] != found[0].ID {
				t.Errorf("acknowledged %+v, stored %+v", n, found)
			} else if m := n.Message; m.ID != "" && (found[0].ID != m.ID || found[0].Seq != m.Seq || found[0].CreatedAt != m.Timestamp) {
				t.Errorf("acknowledged %+v, stored %+v", m, found[0])
			}
		case noteEvent:
			n.Event.ID = n.EventID
			readings[n.Reading] = append(readings[n.Reading], n.Event)
		}
	}
	for content, found := range questions {
		if len(found) > 1 || !expected[content] {
			t.Errorf("%q is stored %d times: %+v", content, len(found), found)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(readings)) {
		checkReading(t, c, name, readings[name], answers)
	}
}

// checkAnswers checks that replies have the order of their questions, except for questions that were answered again
// after a failure, and that a question without a reply has a failed run.
func checkAnswers(t *testing.T, c client, stored []message, answers map[string]message, questionOf map[string]string) {
	t.Helper()
	attempts := map[string]int{} // by question
	for _, question := range questionOf {
		attempts[question]++
	}
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
				t.Errorf("seq %d has no reply, and its run is %+v", question.Seq, run)
			}
			continue
		}
		if attempts[question.ID] > 1 {
			continue
		}
		if answer.Seq <= max(question.Seq, last) {
			t.Errorf("the reply to seq %d is seq %d, the previous reply seq %d", question.Seq, answer.Seq, last)
		}
		last = answer.Seq
	}
	for run, answer := range answers {
		if !runs[run] {
			t.Errorf("seq %d is a reply without a question", answer.Seq)
		}
	}
}

// checkReading compares the events that a client received for a reply with the stored reply.
func checkReading(t *testing.T, c client, name string, events []event, answers map[string]message) {
	t.Helper()
	last := events[len(events)-1]
	answer := answers[last.RunID]
	text := textOf(events)
	switch {
	case answer.Content == "":
		if run := c.run(last.RunID); run.State != "failed" || last.Done && last.Error == nil {
			t.Errorf("reading %s: final event %+v, run %+v", name, last, run)
		}
	case !strings.HasPrefix(answer.Content, text), last.Done && (last.Error != nil || text != answer.Content || last.MessageID != answer.ID):
		t.Errorf("reading %s: %q, final event %+v; stored %q", name, text, last, answer.Content)
	}
	if i := slices.IndexFunc(events, func(ev event) bool { return ev.Done }); i >= 0 && i < len(events)-1 {
		t.Errorf("reading %s: events after the final ev: %+v", name, events[i+1:])
	}
	for i, ev := range events[1:] {
		if before := events[i]; ev.RunID != before.RunID {
			t.Errorf("reading %s: the run changes from %s to %s", name, before.RunID, ev.RunID)
		}
	}
}
