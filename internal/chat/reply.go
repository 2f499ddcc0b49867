package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/fault"
)

const (
	// leaseSeconds is how long an attempt is believed to live without a sign of life.
	leaseSeconds = 20
	// leaseRenewal leaves room for a renewal that fails.
	leaseRenewal = 5 * time.Second
	// finishPatience is how long a finished reply tries to be stored while the
	// database cannot be reached.
	finishPatience = 15 * time.Second
	// lookInterval is how often who waits for a reply looks at the database, in case
	// another process writes it.
	lookInterval = 2 * time.Second
)

var (
	errStopping  = errors.New("the server is stopping")
	errLost      = errors.New("another attempt has taken over")
	errCancelled = errors.New("the run was cancelled")
)

// task is one attempt at answering one question.
type task struct {
	organizationID uuid.UUID
	sessionID      uuid.UUID
	runID          uuid.UUID
	attempt        int
	reply          *Reply
	question       string
	askedAt        time.Time
}

// answer works a task off, and then whatever has queued behind it in the
// conversation.
func (c *Chat) answer(work task) {
	for isNext := true; isNext; {
		isQueued, err := c.attempt(work)
		c.live.remove(work.runID)
		if err != nil {
			c.log.Error("a reply could not be finished", "run_id", work.runID, "error", err)
			work.interrupt(fault.New(fault.Unavailable, "The reply could not be stored; it is written again when the database is back."))
		}
		if !isQueued {
			return
		}
		work, isNext = c.next(work.organizationID, work.sessionID)
	}
}

// attempt writes one reply and ends its run. It tells whether other runs wait.
func (c *Chat) attempt(work task) (isQueued bool, err error) {
	ctx, cancel := context.WithCancelCause(c.replying)
	defer cancel(nil)
	stopRenewing := c.renewLease(ctx, work, cancel)
	defer stopRenewing()

	c.publish(work.sessionID, &Event{Reply: work.reply})
	began := time.Now()
	var firstToken *float64
	answer, err := c.respond(ctx, work, func(delta string) error {
		if firstToken == nil {
			firstToken = new(time.Since(began).Seconds())
		}
		work.reply.grow(work.attempt, delta)
		return context.Cause(ctx)
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errLost) {
		return false, nil
	}
	if errors.Is(err, errStopping) {
		work.interrupt(fault.New(fault.Unavailable, "The server is stopping; the reply is written by the next one to start."))
		return false, c.release(work)
	}
	outcome := judge(work.reply.written(), answer, err)
	if outcome.Err != nil {
		c.log.Error("a reply failed", "run_id", work.runID, "error", err)
	}
	return c.finish(ctx, work, outcome, firstToken)
}

// respond has the conversation's bot answer.
func (c *Chat) respond(ctx context.Context, work task, emit func(string) error) (bot.Answer, error) {
	session, err := c.store.GetSession(ctx, work.organizationID, work.sessionID)
	if err != nil {
		return bot.Answer{}, fmt.Errorf("read the conversation: %w", err)
	}
	asked, err := c.bots.GetByID(ctx, work.organizationID, session.BotID)
	if err != nil {
		return bot.Answer{}, fmt.Errorf("read the bot: %w", err)
	}
	return c.bots.Respond(ctx, bot.Question{Bot: asked, Text: work.question}, emit)
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
func failure(err error) *fault.Error {
	if told, ok := errors.AsType[*fault.Error](err); ok && told.Kind != fault.NotFound {
		return told
	}
	return fault.Wrap(fault.Internal, "The bot could not answer.", err)
}

// interrupt tells who listens that this attempt has come to nothing: another one is
// made of the run, but not within a caller's patience.
func (work task) interrupt(why *fault.Error) {
	work.reply.end(work.attempt, &Outcome{State: "failed", FinishReason: "error", Content: work.reply.written(), Err: why})
}

// renewLease says every few seconds that the attempt lives, until it is stopped;
// it ends the attempt when that was lost or cancelled.
func (c *Chat) renewLease(ctx context.Context, work task, end context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(leaseRenewal, func() {
		defer close(done)
		ticker := time.NewTicker(leaseRenewal)
		defer ticker.Stop()
		for ctx.Err() == nil {
			isCancelled, err := c.store.RenewLease(ctx, db.RenewLeaseParams{
				OrganizationID: work.organizationID,
				ID:             work.runID,
				Attempt:        int32(work.attempt),
				LeaseSeconds:   leaseSeconds,
			})
			switch {
			case fault.Is(err, fault.NotFound):
				end(errLost)
			case err == nil && isCancelled:
				end(errCancelled)
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

// finish stores the outcome and tells it to who listens. It goes on trying for a
// while when the database cannot be reached; then the run is taken up again when
// its lease is over.
func (c *Chat) finish(ctx context.Context, work task, outcome *Outcome, firstToken *float64) (isQueued bool, err error) {
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
		IsStored:          outcome.Content != "",
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
		row, err := c.store.FinishRun(ctx, ended)
		switch {
		case err == nil:
			work.reply.end(work.attempt, outcome)
			if ended.IsStored {
				c.publish(work.sessionID, &Event{Message: replyOf(work, ended, row)})
			}
			return row.QueuedRuns > 0, nil
		case fault.Is(err, fault.NotFound):
			return false, nil // another attempt has it, or the conversation is deleted
		case !fault.Is(err, fault.Unavailable):
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

// release gives a run back when the server stops.
func (c *Chat) release(work task) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.replying), 2*time.Second)
	defer cancel()
	return c.store.ReleaseRun(ctx, work.organizationID, work.runID, int32(work.attempt))
}

// next begins the oldest run that waits in a conversation.
func (c *Chat) next(organization, session uuid.UUID) (task, bool) {
	ctx := context.WithoutCancel(c.replying)
	// The second look sees what was queued while the first one waited.
	for range 2 {
		run, err := c.store.StartNextRun(ctx, organization, session, leaseSeconds)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			c.log.Error("the next reply could not be begun", "conversation_id", session, "error", err)
			return task{}, false
		}
		return c.begun(ctx, run.OrganizationID, run.SessionID, run.ID, run.QuestionID, run.ReplyID, int(run.Attempt))
	}
	return task{}, false
}

// begun makes the task of a run that this process has just begun or taken up.
func (c *Chat) begun(ctx context.Context, organization, session, run, question, reply uuid.UUID, attempt int) (task, bool) {
	asked, err := c.store.GetMessage(ctx, organization, question)
	if err != nil {
		// The sweep takes the run up again when its lease is over.
		c.log.Error("a question could not be read", "run_id", run, "error", err)
		return task{}, false
	}
	growing := c.live.add(run, session, reply)
	growing.restart(attempt)
	return task{
		organizationID: organization,
		sessionID:      session,
		runID:          run,
		attempt:        attempt,
		reply:          growing,
		question:       asked.Message.Content,
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
