package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// held is a trial in which nothing went wrong: two messages of a client, of which the bot
// has answered the second, and a device that has heard all.
func held() (trial, []entry, stored) {
	at := time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)
	s := stored{
		messages: []storedMessage{
			{ID: "m1", Conversation: "c", Sender: "user", Content: "one", Seq: 1, At: at},
			{ID: "m2", Conversation: "c", Sender: "user", Content: "two", Run: "r", Seq: 2, At: at.Add(time.Second)},
			{ID: "m3", Conversation: "c", Sender: "bot", Content: answerTo("two"), Run: "r", Seq: 3, At: at.Add(2 * time.Second)},
		},
		lastSeqs:      map[string]int64{"c": 3},
		runs:          map[string]storedRun{"r": {ID: "r", State: "completed", Attempt: 1, Asked: at.Add(time.Second), Finished: at.Add(2 * time.Second)}},
		records:       map[string]string{"r": "completed"},
		conversations: []storedConversation{{ID: "c", LastSeq: 3, Exchanges: 1, UserUnread: 1, StaffUnread: 2}},
	}
	t := trial{
		Began: at, Ended: at.Add(3 * time.Second), Seqs: map[string]int64{"c": 3},
		Devices: map[string][]string{"c": {"d"}}, Models: []string{"c"},
	}
	entries := []entry{
		{Kind: didAsk, At: at, Conversation: "c", Content: "one"},
		{Kind: wasTold, At: at, Conversation: "c", Content: "one", ID: "m1", Seq: 1},
		{Kind: didAsk, At: at, Conversation: "c", Content: "two", MayRepeat: true},
		{Kind: wasTold, At: at, Conversation: "c", Content: "two", Run: "r"},
		{Kind: didRead, At: at, Conversation: "c", Content: answerTo("two"), ID: "m3", Run: "r"},
	}
	for i, one := range s.messages {
		entries = append(entries, entry{Kind: didHear, At: t.Ended.Add(time.Duration(i) * time.Second), Conversation: "c", Device: "d", ID: one.ID, Seq: one.Seq, Content: one.Content})
	}
	return t, entries, s
}

func TestWhatHoldsIsNoViolation(t *testing.T) {
	t.Parallel()
	trial, entries, s := held()
	s.index()
	found := judge(trial, entries, s)
	if found.violations() != 0 || found.Told != 2 || found.Answers != 1 || found.Slowest != 2*time.Second {
		t.Errorf("it is %+v", found)
	}
}

func TestWhateverIsViolatedIsSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks func(*trial, *[]entry, *stored)
		in     func(*judgement) int
	}{
		"an acknowledged message is gone": {func(_ *trial, e *[]entry, _ *stored) {
			*e = append(*e, entry{Kind: didAsk, Content: "three"}, entry{Kind: wasTold, Conversation: "c", Content: "three", ID: "m4", Seq: 4})
		}, func(j *judgement) int { return j.Lost }},
		"it is stored with another seq": {func(_ *trial, e *[]entry, _ *stored) { (*e)[1].Seq = 2 }, func(j *judgement) int { return j.Lost }},
		"it is stored twice": {func(_ *trial, _ *[]entry, s *stored) {
			s.messages[2] = storedMessage{ID: "m3", Conversation: "c", Sender: "user", Content: "one", Seq: 3, At: s.messages[2].At}
		}, func(j *judgement) int { return j.Twice }},
		"nobody has sent it":           {func(_ *trial, e *[]entry, _ *stored) { *e = (*e)[1:] }, func(j *judgement) int { return j.Wrong }},
		"a seq is missing":             {func(_ *trial, _ *[]entry, s *stored) { s.messages[2].Seq = 4 }, func(j *judgement) int { return j.Gaps }},
		"the last messages are gone":   {func(_ *trial, _ *[]entry, s *stored) { s.lastSeqs["c"] = 5 }, func(j *judgement) int { return j.Gaps }},
		"a time does not grow":         {func(_ *trial, _ *[]entry, s *stored) { s.messages[1].At = s.messages[0].At }, func(j *judgement) int { return j.Wrong }},
		"a device has not heard all":   {func(_ *trial, e *[]entry, _ *stored) { *e = (*e)[:len(*e)-1] }, func(j *judgement) int { return j.Lost }},
		"a device has heard a gap":     {func(_ *trial, e *[]entry, _ *stored) { *e = slices.Delete(*e, 6, 7) }, func(j *judgement) int { return j.Gaps }},
		"a device hears it twice":      {func(_ *trial, e *[]entry, _ *stored) { *e = append(*e, (*e)[7]) }, func(j *judgement) int { return j.Twice }},
		"a device hears another text":  {func(_ *trial, e *[]entry, _ *stored) { (*e)[6].Content = "2" }, func(j *judgement) int { return j.Wrong }},
		"a device catches up too late": {func(t *trial, _ *[]entry, _ *stored) { t.Ended = t.Ended.Add(-9 * time.Second) }, func(j *judgement) int { return j.Late }},
		"a stream has lost a piece":    {func(_ *trial, e *[]entry, _ *stored) { (*e)[4].Content = "two 0" }, func(j *judgement) int { return j.Wrong }},
		"a stream says that it failed": {func(_ *trial, e *[]entry, _ *stored) { (*e)[4].Why = "internal" }, func(j *judgement) int { return j.Wrong }},
		"a run is not there": {func(_ *trial, e *[]entry, _ *stored) {
			*e = append(*e, entry{Kind: wasAnswered, Conversation: "c", Content: "?", Run: "r2"})
		}, func(j *judgement) int { return j.Lost }},
		"a run goes on": {func(_ *trial, _ *[]entry, s *stored) {
			s.runs["r"], s.records = storedRun{ID: "r", State: "running"}, nil
		}, func(j *judgement) int { return j.Unanswered }},
		"a completed run has no reply": {func(_ *trial, e *[]entry, s *stored) {
			s.messages, s.lastSeqs["c"], *e = s.messages[:2], 2, slices.Delete(*e, 4, 5)
		}, func(j *judgement) int { return j.Unanswered }},
		"a reply is to another question":   {func(_ *trial, _ *[]entry, s *stored) { s.messages[1].Content = "2" }, func(j *judgement) int { return j.Wrong }},
		"a run has no record":              {func(_ *trial, _ *[]entry, s *stored) { s.records = nil }, func(j *judgement) int { return j.Wrong }},
		"a record is of no run":            {func(_ *trial, _ *[]entry, s *stored) { s.records["r2"] = "completed" }, func(j *judgement) int { return j.Wrong }},
		"a client was told what cannot be": {func(_ *trial, e *[]entry, _ *stored) { *e = append(*e, entry{Kind: didBreak, Why: "500"}) }, func(j *judgement) int { return j.Wrong }},
		"an exchange is counted twice":     {func(_ *trial, _ *[]entry, s *stored) { s.conversations[0].Exchanges++ }, func(j *judgement) int { return j.Wrong }},
		"a run is said to go on":           {func(_ *trial, _ *[]entry, s *stored) { s.conversations[0].IsActive = true }, func(j *judgement) int { return j.Wrong }},
		"a count is not what it counts":    {func(_ *trial, _ *[]entry, s *stored) { s.counts = []string{"one more"} }, func(j *judgement) int { return j.Wrong }},
		"a reply comes before its question": {func(_ *trial, _ *[]entry, s *stored) {
			for i := range s.messages {
				s.messages[i].ID, s.messages[i].Seq = fmt.Sprint("m", 3-i), int64(3-i)
			}
			slices.Reverse(s.messages)
		}, func(j *judgement) int { return j.Wrong }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial, entries, s := held()
			c.breaks(&trial, &entries, &s)
			s.index()
			if found := judge(trial, entries, s); c.in(found) == 0 {
				t.Errorf("it is not seen: %+v", found)
			}
		})
	}
}

// A question whose reply has failed may be asked again under its key.
func TestAFailedQuestionMayBeAskedAgain(t *testing.T) {
	t.Parallel()
	trial, entries, s := held()
	at := s.messages[2].At
	s.messages = append(s.messages, storedMessage{ID: "m4", Conversation: "c", Sender: "user", Content: "two", Run: "r2", Seq: 4, At: at.Add(time.Second)})
	s.lastSeqs["c"], s.records["r2"] = 4, "failed"
	s.conversations[0] = storedConversation{ID: "c", LastSeq: 4, Exchanges: 2, UserUnread: 1, StaffUnread: 3}
	s.runs["r2"] = storedRun{ID: "r2", State: "failed", Attempt: 1, Asked: at, Finished: at}
	entries = append(entries, entry{Kind: didHear, At: trial.Ended, Conversation: "c", Device: "d", ID: "m4", Seq: 4, Content: "two"})
	s.index()
	if found := judge(trial, entries, s); found.violations() != 0 {
		t.Errorf("it is %+v", found)
	}
}
