package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// trial is what is to be judged: a journal, the database, and when the fault was.
type trial struct {
	Journal  string
	Database string
	Began    time.Time
	Ended    time.Time
	// Seqs is how far each conversation had come when the fault ended.
	Seqs map[string]int64
	// Devices are those of each conversation.
	Devices map[string][]string
	// Models are the conversations that the model server answers.
	Models []string
}

// catchUpLimit is how soon after the end of a fault each device must have all that was
// stored by then.
const catchUpLimit = 10 * time.Second

// judgement is what was found. All but the figures of the load must be nothing.
type judgement struct {
	Told, ToldDuring, Requests, RequestsDuring int            // messages that were acknowledged; what was asked and answered or not
	Refused                                    map[string]int // by how
	Stored, Answers, Failed, Retaken           int
	Slowest                                    time.Duration // of the devices that caught up
	LastAnswer                                 time.Duration // after the fault's end; 0: before it

	Lost, Twice, Gaps, Unanswered, Late, Wrong int
	Examples                                   []string // of what must not be
}

// violations is how much of what must not be there is.
func (j *judgement) violations() int {
	return j.Lost + j.Twice + j.Gaps + j.Unanswered + j.Late + j.Wrong
}

func (j *judgement) count(into *int, format string, args ...any) {
	*into++
	if len(j.Examples) < 20 {
		j.Examples = append(j.Examples, fmt.Sprintf(format, args...))
	}
}

// runJudge judges a trial.
func runJudge(ctx context.Context, in io.Reader, out io.Writer) error {
	var t trial
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return err
	}
	var entries []entry
	if err := readJournal(t.Journal, func(one entry) { entries = append(entries, one) }); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, t.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	s, err := readStored(ctx, conn)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(judge(t, entries, s))
}

// judge holds what clients were told against what is stored.
func judge(t trial, entries []entry, s stored) *judgement {
	j := &judgement{Refused: map[string]int{}, Stored: len(s.messages)}
	j.checkConversations(s)
	j.checkTold(t, entries, s)
	j.checkDevices(t, entries, s)
	j.checkReplies(entries, s)
	j.checkRuns(t, s)
	j.checkCounts(s)
	return j
}

// checkConversations checks that the messages of each are 1, 2, 3 …, in the order of
// their times, and as many as the conversation says.
func (j *judgement) checkConversations(s stored) {
	for id, lastSeq := range s.lastSeqs {
		var before time.Time
		for i, one := range s.byConversation[id] {
			if one.Seq != int64(i+1) {
				j.count(&j.Gaps, "conversation %s: message %d has the seq %d", id, i+1, one.Seq)
				break
			}
			if !one.At.After(before) {
				j.count(&j.Wrong, "conversation %s: seq %d is not later than the one before", id, one.Seq)
			}
			before = one.At
		}
		if found := int64(len(s.byConversation[id])); found != lastSeq {
			j.count(&j.Gaps, "conversation %s has %d messages and says %d", id, found, lastSeq)
		}
	}
}

// checkTold checks that what was acknowledged is there as it was told, once, and that
// nothing is there that nobody has sent.
func (j *judgement) checkTold(t trial, entries []entry, s stored) {
	asked := map[string]bool{} // contents; true: may be asked anew once its reply has failed
	for _, one := range entries {
		isDuring := one.At.After(t.Began) && one.At.Before(t.Ended)
		switch one.Kind {
		case didAsk:
			asked[one.Content] = one.MayRepeat
			continue
		case didHear:
			continue
		case wasRefused:
			j.Refused[one.Why]++
		case didBreak:
			j.count(&j.Wrong, "%s %s %s", one.Conversation, one.Device, one.Why)
		case wasTold:
			j.Told++
			if isDuring {
				j.ToldDuring++
			}
			if !isStoredAsTold(s.bySender["user"][one.Content], one) {
				j.count(&j.Lost, "told was %+v, stored is %+v", one, s.bySender["user"][one.Content])
			}
		}
		j.Requests++
		if isDuring {
			j.RequestsDuring++
		}
	}
	for content, found := range s.bySender["user"] {
		mayRepeat, isKnown := asked[content]
		if !isKnown {
			j.count(&j.Wrong, "nobody has sent %q", content)
		}
		again := 0
		for _, one := range found {
			if !mayRepeat || s.runs[one.Run].State != "failed" {
				again++
			}
		}
		if again > 1 {
			j.count(&j.Twice, "%q is stored %d times", content, len(found))
		}
	}
}

func isStoredAsTold(found []storedMessage, one entry) bool {
	return slices.ContainsFunc(found, func(m storedMessage) bool {
		return m.Conversation == one.Conversation && (one.Run == "" || m.Run == one.Run) && (one.ID == "" || m.ID == one.ID && m.Seq == one.Seq)
	})
}

// checkDevices checks that each device has heard each message of its conversation once, in
// its order, and soon enough.
func (j *judgement) checkDevices(t trial, entries []entry, s stored) {
	heard := map[string]int64{}        // by device, the last seq
	caughtUp := map[string]time.Time{} // by device
	for _, one := range entries {
		if one.Kind != didHear {
			continue
		}
		switch last := heard[one.Device]; {
		case one.Seq <= last:
			j.count(&j.Twice, "device %s hears seq %d again, after %d", one.Device, one.Seq, last)
		case one.Seq > last+1:
			j.count(&j.Gaps, "device %s hears seq %d after %d", one.Device, one.Seq, last)
		}
		heard[one.Device] = max(heard[one.Device], one.Seq)
		messages := s.byConversation[one.Conversation]
		if one.Seq < 1 || one.Seq > int64(len(messages)) || messages[one.Seq-1].ID != one.ID || messages[one.Seq-1].Content != one.Content {
			j.count(&j.Wrong, "device %s hears what is not stored so: %+v", one.Device, one)
		}
		if _, isThere := caughtUp[one.Device]; !isThere && one.Seq >= t.Seqs[one.Conversation] {
			caughtUp[one.Device] = one.At
		}
	}
	for conversation, devices := range t.Devices {
		for _, one := range devices {
			if heard[one] < s.lastSeqs[conversation] {
				j.count(&j.Lost, "device %s has heard %d of %d messages", one, heard[one], s.lastSeqs[conversation])
			}
			if t.Seqs[conversation] == 0 {
				continue
			}
			switch at, isThere := caughtUp[one]; {
			case !isThere: // which counts as lost
			case at.Sub(t.Ended) > catchUpLimit:
				j.count(&j.Late, "device %s has caught up after %s", one, at.Sub(t.Ended))
				fallthrough
			default:
				j.Slowest = max(j.Slowest, at.Sub(t.Ended))
			}
		}
	}
}

// checkReplies checks that what was read of each reply, over however many streams, is
// what is stored of it.
func (j *judgement) checkReplies(entries []entry, s stored) {
	for _, one := range entries {
		if one.Kind != didRead && one.Kind != wasAnswered {
			continue
		}
		run, isThere := s.runs[one.Run]
		reply := s.replies[one.Run]
		switch {
		case !isThere:
			j.count(&j.Lost, "the run %s was told of and is not there", one.Run)
		case one.Why != "" && run.State != "failed":
			j.count(&j.Wrong, "the run %s is %s, its stream ended with %q", one.Run, run.State, one.Why)
		case one.Content != reply.Content:
			j.count(&j.Wrong, "of the run %s was read %q, stored is %q", one.Run, one.Content, reply.Content)
		}
	}
}

// checkRuns checks that each question that was to be answered is, or says why not, in the
// order of the questions, and has one record.
func (j *judgement) checkRuns(t trial, s stored) {
	for id, run := range s.runs {
		reply, isThere := s.replies[id]
		switch run.State {
		case "completed":
			j.Answers++
			if !isThere {
				j.count(&j.Unanswered, "the run %s is completed and has no reply", id)
			}
			if question := s.questions[id]; slices.Contains(t.Models, question.Conversation) && reply.Content != answerTo(question.Content) {
				j.count(&j.Wrong, "the model's answer to %q is stored as %q", question.Content, reply.Content)
			}
		case "failed", "cancelled":
			j.Failed++
		default:
			j.count(&j.Unanswered, "the run %s is %s in attempt %d, lease until %s", id, run.State, run.Attempt, run.Lease)
		}
		if run.Attempt > 1 {
			j.Retaken++
		}
		if !t.Ended.IsZero() && run.Finished.After(t.Ended) && run.Asked.Before(t.Ended) {
			j.LastAnswer = max(j.LastAnswer, run.Finished.Sub(t.Ended))
		}
		isOver := run.State == "completed" || run.State == "failed" || run.State == "cancelled"
		if record := s.records[id]; isOver && record != run.State || !isOver && record != "" {
			j.count(&j.Wrong, "the run %s is %s, its record says %q", id, run.State, record)
		}
	}
	for id := range s.records {
		if _, isThere := s.runs[id]; !isThere {
			j.count(&j.Wrong, "a record is of no run: %s", id)
		}
	}
	for _, conversation := range slices.Sorted(maps.Keys(s.byConversation)) {
		var last int64
		for _, one := range s.byConversation[conversation] {
			if reply, isThere := s.replies[one.Run]; isThere && one.Sender == "user" {
				if reply.Seq <= max(one.Seq, last) {
					j.count(&j.Wrong, "conversation %s: the reply to seq %d is seq %d, the one before seq %d", conversation, one.Seq, reply.Seq, last)
				}
				last = reply.Seq
			}
		}
	}
}

// checkCounts checks that what is counted in the rows of conversations, and beside them, is
// what there is.
func (j *judgement) checkCounts(s stored) {
	for _, one := range s.conversations {
		is := storedConversation{ID: one.ID, LastSeq: one.LastSeq}
		for _, message := range s.byConversation[one.ID] {
			switch {
			case message.Sender != "user":
				is.UserUnread++
			case message.Run != "" && s.records[message.Run] != "":
				is.Exchanges++
				fallthrough
			default:
				is.StaffUnread++
			}
		}
		if is != one {
			j.count(&j.Wrong, "a conversation is %+v, and says %+v", is, one)
		}
	}
	for _, one := range s.counts {
		j.count(&j.Wrong, "%s", one)
	}
}

// refusals are how requests were refused, for a table.
func (j *judgement) refusals() string {
	var all []string
	for _, how := range slices.SortedFunc(maps.Keys(j.Refused), func(a, b string) int { return cmp.Or(cmp.Compare(j.Refused[b], j.Refused[a]), cmp.Compare(a, b)) }) {
		all = append(all, fmt.Sprintf("%d %s", j.Refused[how], how))
	}
	return strings.Join(all, ", ")
}
