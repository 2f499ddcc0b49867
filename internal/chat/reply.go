package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/trace"
)

const (
	// leaseSeconds is how long an attempt is believed to live without a sign of life.
	leaseSeconds = 20
	// leaseRenewal leaves room for a renewal that fails.
	leaseRenewal = 5 * time.Second
	// finishPatience is how long a finished reply tries to be stored while the
	// database cannot be reached.
	finishPatience = 15 * time.Second
)

var (
	errStopping  = errors.New("the server is stopping")
	errLost      = errors.New("another attempt has taken over")
	errCancelled = errors.New("the run was cancelled")
	errGivenUp   = apperr.New(apperr.Internal, "The bot could not answer: it was interrupted too often.")
)

// task is one attempt at answering one question.
type task struct {
	organizationID uuid.UUID
	sessionID      uuid.UUID
	runID          uuid.UUID
	attempt        int
	isCancelled    bool // since the attempt before
	reply          *Reply
	asked          *db.Bot // where it has just been read; nil: it is to be read
	question       string
	queryMetadata  json.RawMessage
	isAlone        bool // the question is known to be the conversation's first message, with nothing attached
	askedAt        time.Time
	origin         trace.Parent // what it is a part of; of what waited for its turn nothing is known
}

// answer works a task off, and then what has queued behind it in the conversation,
// unless other conversations wait for their turn. It gives the slot back that the
// caller has taken.
func (c *Chat) answer(work task) {
	defer c.slots.release(work.organizationID)
	for isNext := true; isNext; {
		isQueued, err := c.attempt(work)
		switch {
		case errors.Is(err, errLost):
			c.live.leave(work.runID, work.attempt) // who listens here hears what the other one writes
		case err != nil:
			c.log.Error("a reply could not be finished", "run_id", work.runID, "error", err)
			c.live.fail(work.runID, work.attempt, apperr.New(apperr.Unavailable, "The reply could not be stored; it is written again when the database is back."))
		default:
			c.live.remove(work.runID)
		}
		if !isQueued || c.slots.mustYield(work.organizationID) {
			return
		}
		session := work.sessionID
		if work, isNext, err = c.next(work.organizationID, session, true); err != nil {
			c.log.Error("the next reply could not be begun", "conversation_id", session, "error", err)
		}
	}
}

// attempt writes one reply and ends its run. It tells whether other runs wait;
// errLost is that another attempt has taken over, or the conversation is gone.
func (c *Chat) attempt(work task) (isQueued bool, err error) {
	ctx, span := c.traces.Start(work.origin.Context(c.replying), "reply")
	defer span.End()
	span.SetID("parley.run.id", work.runID)
	span.SetNumber("parley.run.attempt", work.attempt)
	span.SetID("parley.conversation.id", work.sessionID)
	span.SetID("parley.organization.id", work.organizationID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if work.attempt > maxAttempts {
		return c.finish(ctx, work, judge("", bot.Answer{}, errGivenUp), nil)
	}
	c.live.work(work.organizationID, work.reply, work.attempt, cancel)
	c.written.begin(c.link, work.reply, work.attempt)
	defer c.written.end(work.reply, work.attempt)
	if work.isCancelled {
		cancel(errCancelled)
	}
	c.publish(work.sessionID, &Event{Reply: work.reply})
	began := time.Now()
	var firstToken *float64
	// What is stored is this text: the reply that listeners share may be ended by others.
	var written strings.Builder
	emit := func(delta string) error {
		if firstToken == nil {
			firstToken = new(time.Since(began).Seconds())
			span.AddEvent("first token")
		}
		written.WriteString(delta)
		work.reply.grow(work.attempt, delta)
		c.written.grew(work.runID)
		return context.Cause(ctx)
	}
	answer, err := c.respond(ctx, work, emit)
	// When it is the database that is away nothing is wrong with the question.
	isHindered := func() bool { return apperr.Is(err, apperr.Unavailable) && written.Len() == 0 }
	for isHindered() && time.Since(began) < finishPatience && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
			answer, err = c.respond(ctx, work, emit)
		}
	}
	if cause := context.Cause(ctx); cause != nil && (err != nil || errors.Is(cause, errLost)) {
		err = cause
	}
	if errors.Is(err, errLost) {
		span.Fail("lost")
		c.tally.noteAttempt(nil, errLost)
		return false, errLost
	}
	if errors.Is(err, errStopping) {
		span.Fail("stopping")
		c.live.fail(work.runID, work.attempt, stopping())
		return false, c.giveBack(work)
	}
	if isHindered() {
		span.Fail("hindered")
		c.live.fail(work.runID, work.attempt, apperr.New(apperr.Unavailable, "The database cannot be reached; the reply is written when it is back."))
		return false, c.giveBack(work)
	}
	outcome := judge(written.String(), answer, err)
	span.SetText("parley.run.state", outcome.State)
	span.SetText("parley.run.finish_reason", outcome.FinishReason)
	if outcome.Err != nil {
		span.Fail(string(outcome.Err.Kind))
		c.log.ErrorContext(ctx, "a reply failed", "run_id", work.runID, "error", err)
	}
	return c.finish(ctx, work, outcome, firstToken)
}

// stopping is what those are told whose reply this process will not finish.
func stopping() *apperr.Error {
	return apperr.New(apperr.Unavailable, "The server is stopping; the reply is written by the next one to start.")
}

// respond has the conversation's bot answer.
func (c *Chat) respond(ctx context.Context, work task, emit func(string) error) (bot.Answer, error) {
	asked := work.asked
	if asked == nil {
		found, err := c.store.GetBotBySession(ctx, work.organizationID, work.sessionID)
		if apperr.Is(err, apperr.NotFound) {
			return bot.Answer{}, errLost // the conversation was deleted, and the run with it
		}
		if err != nil {
			return bot.Answer{}, fmt.Errorf("read the bot: %w", err)
		}
		asked = &found
	}
	question, err := c.question(ctx, work, *asked)
	if err != nil {
		return bot.Answer{}, err
	}
	return c.bots.Respond(ctx, question, emit)
}

// judge tells how a reply ended.
func judge(written string, answer bot.Answer, err error) *Outcome {
	outcome := &Outcome{State: "completed", FinishReason: answer.FinishReason, Content: written, Answer: answer}
	switch {
	case errors.Is(err, errCancelled):
		outcome.State, outcome.FinishReason = "cancelled", "cancelled"
	case err != nil:
		outcome.State, outcome.FinishReason = "failed", "error"
		outcome.Err = failure(err)
	}
	return outcome
}

// failure is what may be told of why a reply failed.
func failure(err error) *apperr.Error {
	if told, ok := errors.AsType[*apperr.Error](err); ok && told.Kind != apperr.NotFound {
		return told
	}
	return apperr.Wrap(apperr.Internal, "The bot could not answer.", err)
}

// finish stores the outcome, and counts it.
func (c *Chat) finish(ctx context.Context, work task, outcome *Outcome, firstToken *float64) (isQueued bool, err error) {
	isQueued, err = c.keep(ctx, work, outcome, firstToken)
	c.tally.noteAttempt(outcome, err)
	return isQueued, err
}

// keep stores the outcome and tells it to who listens. It goes on trying for a
// while when the database cannot be reached; then the run is taken up again when
// its lease is over.
func (c *Chat) keep(ctx context.Context, work task, outcome *Outcome, firstToken *float64) (isQueued bool, err error) {
	// A reply that is written is stored, even when the server stops meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	ended := db.FinishRunParams{
		OrganizationID:    work.organizationID,
		SessionID:         work.sessionID,
		ID:                work.runID,
		Attempt:           int32(work.attempt),
		State:             outcome.State,
		FinishReason:      outcome.FinishReason,
		HasReply:          outcome.Content != "",
		Content:           outcome.Content,
		Citations:         toJSON(outcome.Answer.Citations),
		CitationNodes:     toJSON(outcome.Answer.Nodes),
		Suggestions:       toJSON(outcome.Answer.Suggestions),
		Context:           outcome.Answer.Context,
		PromptTokens:      toInt32(outcome.Answer.PromptTokens),
		CompletionTokens:  toInt32(outcome.Answer.CompletionTokens),
		FirstTokenSeconds: firstToken,
		InputMessage:      work.question,
		AskedAt:           work.askedAt,
	}
	if outcome.Err != nil {
		ended.Error, ended.Detail = new(string(outcome.Err.Kind)), &outcome.Err.Message
	}
	for {
		row, err := c.queriesOf(work.organizationID, work.sessionID).FinishRun(ctx, ended)
		switch {
		case err == nil:
			if ended.HasReply {
				outcome.Seq = row.LastSeq
			}
			work.reply.end(work.attempt, outcome)
			c.tellRun(work.sessionID, work.runID)
			if ended.HasReply {
				c.publish(work.sessionID, &Event{Message: replyOf(work, ended, row)})
			}
			return row.QueuedRuns > 0, nil
		case apperr.Is(err, apperr.NotFound):
			return false, errLost
		case !apperr.Is(err, apperr.Unavailable):
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(time.Second):
		}
	}
}

// replyOf is the message that FinishRun has stored.
func replyOf(work task, ended db.FinishRunParams, row db.FinishRunRow) *db.Message {
	return &db.Message{
		OrganizationID: work.organizationID,
		ID:             work.reply.MessageID,
		SessionID:      work.sessionID,
		Seq:            row.LastSeq,
		Sender:         "bot",
		Content:        ended.Content,
		Citations:      ended.Citations,
		CitationNodes:  ended.CitationNodes,
		Suggestions:    ended.Suggestions,
		RunID:          &work.runID,
		CreatedAt:      row.LastActivity,
	}
}

// giveBack ends an attempt that this process will not finish.
func (c *Chat) giveBack(work task) error {
	err := c.release(work.organizationID, work.runID, work.attempt)
	c.tally.noteAttempt(nil, err)
	return err
}

// release gives a run back that this process does not work on.
func (c *Chat) release(organization, run uuid.UUID, attempt int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.replying), 2*time.Second)
	defer cancel()
	return c.store.ReleaseLease(ctx, organization, run, int32(attempt))
}

// next begins the oldest run that waits in a conversation. Who serves all conversations
// may not wait for one that is locked.
func (c *Chat) next(organization, session uuid.UUID, mayWait bool) (task, bool, error) {
	ctx := context.WithoutCancel(c.replying)
	// The second look sees what was queued while the first one waited.
	for range 2 {
		run, err := c.store.StartNextRun(ctx, db.StartNextRunParams{
			WaitForLock: mayWait, OrganizationID: organization, SessionID: session, LeaseSeconds: leaseSeconds,
		})
		if apperr.Is(err, apperr.NotFound) {
			continue
		}
		if err != nil {
			return task{}, false, err
		}
		work, ok := c.begun(ctx, db.Run(run))
		return work, ok, nil
	}
	return task{}, false, nil
}

// begun makes the task of a run that this process has just begun or taken up.
func (c *Chat) begun(ctx context.Context, run db.Run) (task, bool) {
	asked, err := c.store.GetMessage(ctx, run.OrganizationID, run.QuestionID)
	if apperr.Is(err, apperr.NotFound) {
		return task{}, false // the conversation was deleted, and the run with it
	}
	if err != nil {
		// The sweep takes the run up again: soon, where it can be given back, else when its
		// lease is over.
		err = errors.Join(err, c.release(run.OrganizationID, run.ID, int(run.Attempt)))
		c.log.Error("a question could not be read", "run_id", run.ID, "error", err)
		return task{}, false
	}
	growing := c.live.add(run.OrganizationID, run.ID, run.SessionID, run.ReplyID)
	growing.restart(int(run.Attempt))
	return task{
		organizationID: run.OrganizationID,
		sessionID:      run.SessionID,
		runID:          run.ID,
		attempt:        int(run.Attempt),
		isCancelled:    run.CancelRequested,
		reply:          growing,
		question:       asked.Message.Content,
		queryMetadata:  asked.Message.QueryMetadata,
		askedAt:        asked.Message.CreatedAt,
	}, true
}

// toJSON is what a column holds: nothing for an empty list.
func toJSON[T any](list []T) json.RawMessage {
	if len(list) == 0 {
		return nil
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(err) // lists of plain structs
	}
	return raw
}

func toInt32(n *int) *int32 {
	if n == nil {
		return nil
	}
	return new(int32(*n))
}
