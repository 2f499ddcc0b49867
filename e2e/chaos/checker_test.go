package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// flawless returns a run without violations: a client sent two messages, the bot answered the
// second, and one device received all three.
func flawless() (checkJob, []entry, snapshot) {
	at := time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)
	s := snapshot{
		messages: []storedMessage{
			{ID: "m1", Conversation: "c", Sender: "user", Content: "one", Seq: 1, At: at},
			{ID: "m2", Conversation: "c", Sender: "user", Content: "two", Run: "r", Seq: 2, At: at.Add(time.Second)},
			{ID: "m3", Conversation: "c", Sender: "bot", Content: answerTo("two"), Run: "r", Seq: 3, At: at.Add(2 * time.Second)},
		},
		lastSeqs:      map[string]int64{"c": 3},
		runs:          map[string]storedRun{"r": {ID: "r", State: "completed", Question: "m2", Attempt: 1, Asked: at.Add(time.Second), Finished: at.Add(2 * time.Second)}},
		records:       map[string]string{"r": "completed"},
		conversations: []storedConversation{{ID: "c", LastSeq: 3, Exchanges: 1, UserUnread: 1, StaffUnread: 2}},
	}
	job := checkJob{
		Began: at, Ended: at.Add(3 * time.Second), Seqs: map[string]int64{"c": 3},
		Devices: map[string][]string{"c": {"d"}}, ModelConversations: []string{"c"},
	}
	entries := []entry{
		{Kind: kindSent, At: at, Conversation: "c", Content: "one"},
		{Kind: kindAcked, At: at, Conversation: "c", Content: "one", ID: "m1", Seq: 1},
		{Kind: kindSent, At: at, Conversation: "c", Content: "two"},
		{Kind: kindAcked, At: at, Conversation: "c", Content: "two", Run: "r"},
		{Kind: kindStreamed, At: at, Conversation: "c", Content: answerTo("two"), ID: "m3", Run: "r"},
	}
	for i, m := range s.messages {
		entries = append(entries, entry{Kind: kindReceived, At: job.Ended.Add(time.Duration(i) * time.Second), Conversation: "c", Device: "d", ID: m.ID, Seq: m.Seq, Content: m.Content})
	}
	return job, entries, s
}

func TestCheckerAcceptsAFlawlessRun(t *testing.T) {
	t.Parallel()
	job, entries, s := flawless()
	s.index()
	result := check(job, entries, s)
	if result.violations() != 0 || result.Acked != 2 || result.Answers != 1 || result.Slowest != 2*time.Second {
		t.Errorf("got %+v", result)
	}
}

func TestCheckerDetectsEveryViolation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		violate func(*checkJob, *[]entry, *snapshot)
		count   func(*checkResult) int
	}{
		"acknowledged message missing": {func(_ *checkJob, e *[]entry, _ *snapshot) {
			*e = append(*e, entry{Kind: kindSent, Content: "three"}, entry{Kind: kindAcked, Conversation: "c", Content: "three", ID: "m4", Seq: 4})
		}, func(r *checkResult) int { return r.Lost }},
		"message stored with another seq": {func(_ *checkJob, e *[]entry, _ *snapshot) { (*e)[1].Seq = 2 }, func(r *checkResult) int { return r.Lost }},
		"message stored twice": {func(_ *checkJob, _ *[]entry, s *snapshot) {
			s.messages[2] = storedMessage{ID: "m3", Conversation: "c", Sender: "user", Content: "one", Seq: 3, At: s.messages[2].At}
		}, func(r *checkResult) int { return r.Duplicated }},
		"stored message never sent":       {func(_ *checkJob, e *[]entry, _ *snapshot) { *e = (*e)[1:] }, func(r *checkResult) int { return r.Wrong }},
		"seq missing":                     {func(_ *checkJob, _ *[]entry, s *snapshot) { s.messages[2].Seq = 4 }, func(r *checkResult) int { return r.Gaps }},
		"last messages missing":           {func(_ *checkJob, _ *[]entry, s *snapshot) { s.lastSeqs["c"] = 5 }, func(r *checkResult) int { return r.Gaps }},
		"time does not increase":          {func(_ *checkJob, _ *[]entry, s *snapshot) { s.messages[1].At = s.messages[0].At }, func(r *checkResult) int { return r.Wrong }},
		"device misses the last seq":      {func(_ *checkJob, e *[]entry, _ *snapshot) { *e = (*e)[:len(*e)-1] }, func(r *checkResult) int { return r.Lost }},
		"device has a gap":                {func(_ *checkJob, e *[]entry, _ *snapshot) { *e = slices.Delete(*e, 6, 7) }, func(r *checkResult) int { return r.Gaps }},
		"device receives a duplicate":     {func(_ *checkJob, e *[]entry, _ *snapshot) { *e = append(*e, (*e)[7]) }, func(r *checkResult) int { return r.Duplicated }},
		"device receives another text":    {func(_ *checkJob, e *[]entry, _ *snapshot) { (*e)[6].Content = "2" }, func(r *checkResult) int { return r.Wrong }},
		"device catches up too late":      {func(j *checkJob, _ *[]entry, _ *snapshot) { j.Ended = j.Ended.Add(-9 * time.Second) }, func(r *checkResult) int { return r.Late }},
		"stream lacks a delta":            {func(_ *checkJob, e *[]entry, _ *snapshot) { (*e)[4].Content = "two 0" }, func(r *checkResult) int { return r.Wrong }},
		"stream of a completed run fails": {func(_ *checkJob, e *[]entry, _ *snapshot) { (*e)[4].Why = "internal" }, func(r *checkResult) int { return r.Wrong }},
		"announced run missing": {func(_ *checkJob, e *[]entry, _ *snapshot) {
			*e = append(*e, entry{Kind: kindAnswered, Conversation: "c", Content: "?", Run: "r2"})
		}, func(r *checkResult) int { return r.Lost }},
		"run never ends": {func(_ *checkJob, _ *[]entry, s *snapshot) {
			s.runs["r"], s.records = storedRun{ID: "r", State: "running", Question: "m2"}, nil
		}, func(r *checkResult) int { return r.Unanswered }},
		"completed run has no reply": {func(_ *checkJob, e *[]entry, s *snapshot) {
			s.messages, s.lastSeqs["c"], *e = s.messages[:2], 2, slices.Delete(*e, 4, 5)
		}, func(r *checkResult) int { return r.Unanswered }},
		"reply to another question":       {func(_ *checkJob, _ *[]entry, s *snapshot) { s.messages[1].Content = "2" }, func(r *checkResult) int { return r.Wrong }},
		"run has no record":               {func(_ *checkJob, _ *[]entry, s *snapshot) { s.records = nil }, func(r *checkResult) int { return r.Wrong }},
		"record has no run":               {func(_ *checkJob, _ *[]entry, s *snapshot) { s.records["r2"] = "completed" }, func(r *checkResult) int { return r.Wrong }},
		"client received a forbidden 500": {func(_ *checkJob, e *[]entry, _ *snapshot) { *e = append(*e, entry{Kind: kindViolation, Why: "500"}) }, func(r *checkResult) int { return r.Wrong }},
		"exchange counted twice":          {func(_ *checkJob, _ *[]entry, s *snapshot) { s.conversations[0].Exchanges++ }, func(r *checkResult) int { return r.Wrong }},
		"active run without a run":        {func(_ *checkJob, _ *[]entry, s *snapshot) { s.conversations[0].IsActive = true }, func(r *checkResult) int { return r.Wrong }},
		"wrong counter":                   {func(_ *checkJob, _ *[]entry, s *snapshot) { s.wrongCounts = []string{"one more"} }, func(r *checkResult) int { return r.Wrong }},
		"reply precedes its question": {func(_ *checkJob, _ *[]entry, s *snapshot) {
			for i := range s.messages {
				s.messages[i].ID, s.messages[i].Seq = fmt.Sprint("m", 3-i), int64(3-i)
			}
			slices.Reverse(s.messages)
		}, func(r *checkResult) int { return r.Wrong }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, entries, s := flawless()
			c.violate(&job, &entries, &s)
			s.index()
			if result := check(job, entries, s); c.count(result) == 0 {
				t.Errorf("not detected: %+v", result)
			}
		})
	}
}

// A repeated request answers its question again. Then there is an additional failed run with its record, and the
// reply comes after that to a later question.
func TestCheckerAllowsAnsweringAFailedQuestionAgain(t *testing.T) {
	t.Parallel()
	job, entries, s := flawless()
	at := s.messages[2].At
	s.messages = append(s.messages,
		storedMessage{ID: "m4", Conversation: "c", Sender: "user", Content: "three", Run: "r4", Seq: 4, At: at.Add(time.Second)},
		storedMessage{ID: "m5", Conversation: "c", Sender: "user", Content: "four", Run: "r3", Seq: 5, At: at.Add(2 * time.Second)},
		storedMessage{ID: "m6", Conversation: "c", Sender: "bot", Content: answerTo("four"), Run: "r3", Seq: 6, At: at.Add(3 * time.Second)},
		storedMessage{ID: "m7", Conversation: "c", Sender: "bot", Content: answerTo("three"), Run: "r4", Seq: 7, At: at.Add(4 * time.Second)})
	s.lastSeqs["c"] = 7
	for run, question := range map[string]string{"r2": "m4", "r4": "m4", "r3": "m5"} {
		s.runs[run], s.records[run] = storedRun{ID: run, State: "completed", Question: question, Attempt: 1, Asked: at, Finished: at}, "completed"
	}
	s.runs["r2"], s.records["r2"] = storedRun{ID: "r2", State: "failed", Question: "m4", Attempt: 1, Asked: at, Finished: at}, "failed"
	s.conversations[0] = storedConversation{ID: "c", LastSeq: 7, Exchanges: 4, UserUnread: 3, StaffUnread: 4}
	entries = append(entries,
		entry{Kind: kindSent, At: at, Conversation: "c", Content: "three"},
		entry{Kind: kindAcked, At: at, Conversation: "c", Content: "three", Run: "r2"},
		entry{Kind: kindSent, At: at, Conversation: "c", Content: "four"})
	for _, m := range s.messages[3:] {
		entries = append(entries, entry{Kind: kindReceived, At: job.Ended, Conversation: "c", Device: "d", ID: m.ID, Seq: m.Seq, Content: m.Content})
	}
	s.index()
	if result := check(job, entries, s); result.violations() != 0 {
		t.Errorf("got %+v", result)
	}
}
