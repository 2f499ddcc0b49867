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

// checkJob configures a checker process: the journal and the database to compare.
type checkJob struct {
	Journal  string
	Database string
	// Began and Ended are the times of the fault.
	Began, Ended time.Time
	// Seqs is the last seq of each conversation when the fault ended.
	Seqs map[string]int64
	// Devices are the names of each conversation's devices.
	Devices map[string][]string
	// ModelConversations are those with the model server's chatbot.
	ModelConversations []string
}

// catchUpLimit is the maximum time after the end of a fault in which each device must receive every message that was
// stored by then.
const catchUpLimit = 10 * time.Second

// checkResult is the result of a checker.
type checkResult struct {
	// Figures of the load. AckedDuring and RequestsDuring count only the time of the fault.
	Acked, AckedDuring, Requests, RequestsDuring int
	Refused                                      map[string]int // by reason
	Stored, Answers, Failed, Rescued             int
	Slowest                                      time.Duration // of the time in which devices caught up after the end of the fault
	LastAnswer                                   time.Duration // after the end of the fault; 0: before it

	// Violations.
	Lost, Duplicated, Gaps, Unanswered, Late, Wrong int
	Examples                                        []string // of violations
}

// violations returns the number of violations.
func (r *checkResult) violations() int {
	return r.Lost + r.Duplicated + r.Gaps + r.Unanswered + r.Late + r.Wrong
}

// add counts a violation and describes it.
func (r *checkResult) add(count *int, format string, args ...any) {
	*count++
	if len(r.Examples) < 20 {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

// runChecker is the checker process.
func runChecker(ctx context.Context, in io.Reader, out io.Writer) error {
	var job checkJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	var entries []entry
	if err := readJournal(job.Journal, func(e entry) { entries = append(entries, e) }); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, job.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	s, err := readSnapshot(ctx, conn)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(check(job, entries, s))
}

// check compares the promises to clients with the stored data.
func check(job checkJob, entries []entry, s snapshot) *checkResult {
	r := &checkResult{Refused: map[string]int{}, Stored: len(s.messages)}
	r.checkConversations(s)
	r.checkEntries(job, entries)
	r.checkAcknowledged(entries, s)
	r.checkStored(entries, s)
	r.checkDevices(job, entries, s)
	r.checkReplies(entries, s)
	r.checkRuns(job, s)
	r.checkReplyOrder(s)
	r.checkCounts(s)
	return r
}

// checkConversations checks that the messages of each conversation have the seqs 1, 2, 3 … up to its last_seq, and
// increasing times.
func (r *checkResult) checkConversations(s snapshot) {
	for id, lastSeq := range s.lastSeqs {
		var previous time.Time
		for i, message := range s.byConversation[id] {
			if message.Seq != int64(i+1) {
				r.add(&r.Gaps, "conversation %s: message %d has seq %d", id, i+1, message.Seq)
				break
			}
			if !message.At.After(previous) {
				r.add(&r.Wrong, "conversation %s: seq %d is not later than its predecessor", id, message.Seq)
			}
			previous = message.At
		}
		if count := int64(len(s.byConversation[id])); count != lastSeq {
			r.add(&r.Gaps, "conversation %s has %d messages, but last_seq %d", id, count, lastSeq)
		}
	}
}

// checkEntries counts the requests and collects the violations that clients noticed.
func (r *checkResult) checkEntries(job checkJob, entries []entry) {
	for _, e := range entries {
		switch e.Kind {
		case kindSent, kindReceived:
			continue
		case kindRefused:
			r.Refused[e.Why]++
		case kindViolation:
			r.add(&r.Wrong, "%s %s %s", e.Conversation, e.Device, e.Why)
		}
		r.Requests++
		if job.isDuringFault(e) {
			r.RequestsDuring++
		}
		if e.Kind == kindAcked {
			r.Acked++
			if job.isDuringFault(e) {
				r.AckedDuring++
			}
		}
	}
}

func (job checkJob) isDuringFault(e entry) bool {
	return e.At.After(job.Began) && e.At.Before(job.Ended)
}

// checkAcknowledged checks that every acknowledged message is stored as it was acknowledged.
func (r *checkResult) checkAcknowledged(entries []entry, s snapshot) {
	for _, e := range entries {
		if e.Kind != kindAcked {
			continue
		}
		candidates := s.bySender["user"][e.Content]
		isStored := slices.ContainsFunc(candidates, func(m storedMessage) bool {
			return m.Conversation == e.Conversation && (e.Run == "" || s.runs[e.Run].Question == m.ID) && (e.ID == "" || m.ID == e.ID && m.Seq == e.Seq)
		})
		if !isStored {
			r.add(&r.Lost, "acknowledged was %+v, stored is %+v", e, candidates)
		}
	}
}

// checkStored checks that every stored message was sent by a client, and is stored once.
func (r *checkResult) checkStored(entries []entry, s snapshot) {
	sent := map[string]bool{} // by content
	for _, e := range entries {
		if e.Kind == kindSent {
			sent[e.Content] = true
		}
	}
	for content, messages := range s.bySender["user"] {
		if !sent[content] {
			r.add(&r.Wrong, "no client sent %q", content)
		}
		if len(messages) > 1 {
			r.add(&r.Duplicated, "%q is stored %d times", content, len(messages))
		}
	}
}

// checkDevices checks that each device received each message of its conversation once, in order, as it is stored, and
// in time after the fault.
func (r *checkResult) checkDevices(job checkJob, entries []entry, s snapshot) {
	lastSeq := map[string]int64{}      // by device
	caughtUp := map[string]time.Time{} // by device
	for _, e := range entries {
		if e.Kind != kindReceived {
			continue
		}
		switch last := lastSeq[e.Device]; {
		case e.Seq <= last:
			r.add(&r.Duplicated, "device %s received seq %d again, after %d", e.Device, e.Seq, last)
		case e.Seq > last+1:
			r.add(&r.Gaps, "device %s received seq %d after %d", e.Device, e.Seq, last)
		}
		lastSeq[e.Device] = max(lastSeq[e.Device], e.Seq)
		messages := s.byConversation[e.Conversation]
		if e.Seq < 1 || e.Seq > int64(len(messages)) || messages[e.Seq-1].ID != e.ID || messages[e.Seq-1].Content != e.Content {
			r.add(&r.Wrong, "device %s received a message that is not stored like this: %+v", e.Device, e)
		}
		if _, ok := caughtUp[e.Device]; !ok && e.Seq >= job.Seqs[e.Conversation] {
			caughtUp[e.Device] = e.At
		}
	}
	for conversation, devices := range job.Devices {
		for _, device := range devices {
			if lastSeq[device] < s.lastSeqs[conversation] {
				r.add(&r.Lost, "device %s received %d of %d messages", device, lastSeq[device], s.lastSeqs[conversation])
			}
			at, ok := caughtUp[device]
			if job.Seqs[conversation] == 0 || !ok { // a device that never caught up counts as lost
				continue
			}
			delay := at.Sub(job.Ended)
			if delay > catchUpLimit {
				r.add(&r.Late, "device %s caught up after %s", device, delay)
			}
			r.Slowest = max(r.Slowest, delay)
		}
	}
}

// checkReplies checks that the text that a client read of a reply, over any number of streams, is the stored text.
func (r *checkResult) checkReplies(entries []entry, s snapshot) {
	for _, e := range entries {
		if e.Kind != kindStreamed && e.Kind != kindAnswered {
			continue
		}
		run, ok := s.runs[e.Run]
		reply := s.replies[e.Run]
		switch {
		case !ok:
			r.add(&r.Lost, "run %s was announced, but is not stored", e.Run)
		case e.Why != "" && run.State != "failed":
			r.add(&r.Wrong, "run %s is %s, but its stream ended with %q", e.Run, run.State, e.Why)
		case e.Content != reply.Content:
			r.add(&r.Wrong, "run %s: a client read %q, stored is %q", e.Run, e.Content, reply.Content)
		}
	}
}

// checkRuns checks that each run has ended, that a completed one has the right reply, and that each
// has one record with its state.
func (r *checkResult) checkRuns(job checkJob, s snapshot) {
	for id, run := range s.runs {
		reply, hasReply := s.replies[id]
		switch run.State {
		case "completed":
			r.Answers++
			if !hasReply {
				r.add(&r.Unanswered, "run %s is completed, but has no reply", id)
			}
			if question := s.questions[id]; slices.Contains(job.ModelConversations, question.Conversation) && reply.Content != answerTo(question.Content) {
				r.add(&r.Wrong, "the model's answer to %q is stored as %q", question.Content, reply.Content)
			}
		case "failed", "cancelled":
			r.Failed++
		default:
			r.add(&r.Unanswered, "run %s is %s in attempt %d, leased until %s", id, run.State, run.Attempt, run.Lease)
		}
		if run.Attempt > 1 {
			r.Rescued++
		}
		if !job.Ended.IsZero() && run.Finished.After(job.Ended) && run.Asked.Before(job.Ended) {
			r.LastAnswer = max(r.LastAnswer, run.Finished.Sub(job.Ended))
		}
		isFinal := run.State == "completed" || run.State == "failed" || run.State == "cancelled"
		if record := s.records[id]; isFinal && record != run.State || !isFinal && record != "" {
			r.add(&r.Wrong, "run %s is %s, but its record says %q", id, run.State, record)
		}
	}
	for id := range s.records {
		if _, ok := s.runs[id]; !ok {
			r.add(&r.Wrong, "record %s has no run", id)
		}
	}
}

// checkReplyOrder checks that replies follow their questions, in the order of the questions. The reply to a question
// that was answered again after a failure is at the end.
func (r *checkResult) checkReplyOrder(s snapshot) {
	runs := s.runsByQuestion()
	for _, conversation := range slices.Sorted(maps.Keys(s.byConversation)) {
		var last int64
		for _, message := range s.byConversation[conversation] {
			if reply, ok := s.replies[message.Run]; ok && message.Sender == "user" && len(runs[message.ID]) == 1 {
				if reply.Seq <= max(message.Seq, last) {
					r.add(&r.Wrong, "conversation %s: the reply to seq %d is seq %d, the previous reply seq %d", conversation, message.Seq, reply.Seq, last)
				}
				last = reply.Seq
			}
		}
	}
}

// checkCounts checks the counters of conversations.
func (r *checkResult) checkCounts(s snapshot) {
	runs := s.runsByQuestion()
	for _, stored := range s.conversations {
		counted := storedConversation{ID: stored.ID, LastSeq: stored.LastSeq}
		for _, message := range s.byConversation[stored.ID] {
			if message.Sender != "user" {
				counted.UserUnread++
				continue
			}
			counted.StaffUnread++
			for _, run := range runs[message.ID] {
				if s.records[run] != "" {
					counted.Exchanges++
				}
			}
		}
		if counted != stored {
			r.add(&r.Wrong, "counted %+v, stored is %+v", counted, stored)
		}
	}
	for _, count := range s.wrongCounts {
		r.add(&r.Wrong, "%s", count)
	}
}

// refusals lists the reasons of refused requests, the most frequent first.
func (r *checkResult) refusals() string {
	var all []string
	for _, reason := range slices.SortedFunc(maps.Keys(r.Refused), func(a, b string) int { return cmp.Or(cmp.Compare(r.Refused[b], r.Refused[a]), cmp.Compare(a, b)) }) {
		all = append(all, fmt.Sprintf("%d %s", r.Refused[reason], reason))
	}
	return strings.Join(all, ", ")
}
