package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/reply"
	"parley/internal/store"
	"parley/internal/trace"
)

// outageTime is how long an attempt waits while the database is unavailable: before its first delta, and again when
// its reply is to be stored.
const outageTime = 15 * time.Second

// answer processes an attempt, and then the runs that are queued behind it in the conversation, unless other
// conversations wait for a slot. It releases the slot that its caller took.
func (d *Dispatcher) answer(work attempt) {
	defer d.slots.release(work.organizationID)
	for hasNext := true; hasNext; {
		isQueued, err := d.attempt(work)
		switch {
		case errors.Is(err, errLost):
			d.live.leave(work.runID, work.number) // local followers continue with the other attempt
		case err != nil:
			d.log.Error("finish run", "run_id", work.runID, "err", err)
			d.live.fail(work.runID, work.number, apperr.New(apperr.Unavailable, "The reply could not be stored. It will be written again when the database is available."))
		default:
			d.live.remove(work.runID)
		}
		if !isQueued || d.slots.mustYield(work.organizationID) {
			return
		}
		session := work.sessionID
		if work, hasNext, err = d.next(work.organizationID, session, true); err != nil {
			d.log.Error("start next run", "conversation_id", session, "err", err)
		}
	}
}

// attempt writes one reply and finishes its run. It reports whether other runs of the conversation
// are queued. errLost means that another attempt has taken over, or the conversation was deleted.
func (d *Dispatcher) attempt(work attempt) (isQueued bool, err error) {
	ctx, span := d.traces.Start(work.parent.Context(d.answering), "reply")
	defer span.End()
	span.SetID("parley.run.id", work.runID)
	span.SetNumber("parley.run.attempt", work.number)
	span.SetID("parley.conversation.id", work.sessionID)
	span.SetID("parley.organization.id", work.organizationID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if work.number > maxAttempts {
		return d.finish(ctx, work, reply.NewOutcome("", bot.Answer{}, errGaveUp), nil)
	}
	d.live.begin(work.organizationID, work.reply, work.number, cancel)
	w := &writer{attempt: work, span: span, shared: d.feed.ShareText(work.reply, work.number), began: time.Now()}
	defer w.shared.Close()
	if work.isCancelled {
		cancel(reply.ErrCancelled)
	}
	d.feed.Publish(work.sessionID, &feed.ReplyStarted{Reply: work.reply})
	answer, err := d.respondOrWait(ctx, w)
	if cause := context.Cause(ctx); cause != nil && (err != nil || errors.Is(cause, errLost)) {
		err = cause
	}
	switch {
	case errors.Is(err, errLost):
		span.Fail("lost")
		d.tally.countAttempt(nil, errLost)
		return false, errLost
	case errors.Is(err, errStopping):
		span.Fail("stopping")
		d.live.fail(work.runID, work.number, stopping())
		return false, d.giveBack(work)
	case w.isBlocked(err):
		span.Fail("blocked")
		d.live.fail(work.runID, work.number, apperr.New(apperr.Unavailable, "The database cannot be reached. The reply will be written when it is available again."))
		return false, d.giveBack(work)
	}
	outcome := reply.NewOutcome(w.text.String(), answer, err)
	span.SetText("parley.run.state", outcome.State)
	span.SetText("parley.run.finish_reason", outcome.FinishReason)
	if outcome.Err != nil {
		span.Fail(string(outcome.Err.Kind))
		level := slog.LevelError
		if outcome.Err.Kind != apperr.Internal { // a script, a model server or a limit of the organization
			level = slog.LevelWarn
		}
		d.log.Log(ctx, level, "answer question", "run_id", work.runID, "organization_id", work.organizationID, "err", err)
	}
	return d.finish(ctx, work, outcome, w.firstToken)
}

// writer receives the deltas of an attempt.
type writer struct {
	attempt    attempt
	span       trace.Span
	shared     *feed.SharedText
	began      time.Time
	firstToken *float64 // seconds
	// text is the text to store. The reply that followers share may be ended by other attempts.
	text strings.Builder
}

func (w *writer) write(ctx context.Context, delta string) error {
	if w.firstToken == nil {
		w.firstToken = new(time.Since(w.began).Seconds())
		w.span.AddEvent("first token")
	}
	w.text.WriteString(delta)
	w.attempt.reply.Append(w.attempt.number, delta)
	w.shared.Grew()
	return context.Cause(ctx)
}

// isBlocked reports whether an attempt failed before it wrote any text, because the database is unavailable. The
// question itself can then be answered later.
func (w *writer) isBlocked(err error) bool {
	return apperr.Is(err, apperr.Unavailable) && w.text.Len() == 0
}

// respondOrWait has the bot answer. It retries for a while if the database cannot be reached.
func (d *Dispatcher) respondOrWait(ctx context.Context, w *writer) (bot.Answer, error) {
	emit := func(delta string) error { return w.write(ctx, delta) }
	answer, err := d.respond(ctx, w.attempt, emit)
	for w.isBlocked(err) && time.Since(w.began) < outageTime && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
			answer, err = d.respond(ctx, w.attempt, emit)
		}
	}
	return answer, err
}

// respond has the conversation's bot answer.
func (d *Dispatcher) respond(ctx context.Context, work attempt, emit func(string) error) (bot.Answer, error) {
	owner := work.bot
	if owner == nil {
		found, err := d.store.GetBotBySession(ctx, work.organizationID, work.sessionID)
		if apperr.Is(err, apperr.NotFound) {
			return bot.Answer{}, errLost // the conversation was deleted with the run
		}
		if err != nil {
			return bot.Answer{}, fmt.Errorf("read bot: %w", err)
		}
		owner = &found
	}
	question, err := readQuestion(ctx, d.store, d.bots.UsesHistory(*owner), work, *owner)
	if err != nil {
		return bot.Answer{}, err
	}
	return d.bots.Respond(ctx, question, emit)
}

// finish stores the outcome and counts the attempt.
func (d *Dispatcher) finish(ctx context.Context, work attempt, outcome *reply.Outcome, firstToken *float64) (isQueued bool, err error) {
	isQueued, err = d.storeOutcome(ctx, work, finishParams(work, outcome, firstToken), outcome)
	d.tally.countAttempt(outcome, err)
	return isQueued, err
}

// storeOutcome stores the outcome and publishes it. It retries for a while if the database cannot
// be reached; after that, the run is reclaimed when its lease expires.
func (d *Dispatcher) storeOutcome(ctx context.Context, work attempt, finished db.FinishRunParams, outcome *reply.Outcome) (isQueued bool, err error) {
	// A complete reply is stored even if the server stops meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outageTime)
	defer cancel()
	queries := d.store.GroupCommit(store.SessionKey{OrganizationID: work.organizationID, SessionID: work.sessionID})
	for {
		row, err := queries.FinishRun(ctx, finished)
		switch {
		case err == nil:
			if finished.HasReply {
				outcome.Seq = row.LastSeq
			}
			work.reply.Finish(work.number, outcome)
			d.notify(work.sessionID, work.runID)
			if finished.HasReply {
				d.feed.Publish(work.sessionID, &feed.MessageStored{Message: messageOf(work, finished, row)})
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

func finishParams(work attempt, outcome *reply.Outcome, firstToken *float64) db.FinishRunParams {
	columns := reply.ColumnsOf(outcome.Answer)
	params := db.FinishRunParams{
		OrganizationID:    work.organizationID,
		SessionID:         work.sessionID,
		ID:                work.runID,
		Attempt:           int32(work.number),
		State:             outcome.State,
		FinishReason:      outcome.FinishReason,
		HasReply:          outcome.Content != "",
		Content:           outcome.Content,
		Citations:         columns.Citations,
		CitationNodes:     columns.CitationNodes,
		Suggestions:       columns.Suggestions,
		Context:           outcome.Answer.Context,
		PromptTokens:      toInt32(outcome.Answer.PromptTokens),
		CompletionTokens:  toInt32(outcome.Answer.CompletionTokens),
		CachedTokens:      toInt32(outcome.Answer.CachedTokens),
		ReasoningTokens:   toInt32(outcome.Answer.ReasoningTokens),
		FirstTokenSeconds: firstToken,
		InputMessage:      work.question,
		AskedAt:           work.askedAt,
	}
	if outcome.Answer.Model != "" {
		params.Model = &outcome.Answer.Model
	}
	if outcome.Err != nil {
		params.Error, params.Detail = new(string(outcome.Err.Kind)), &outcome.Err.Message
	}
	return params
}

// messageOf returns the message that FinishRun stored.
func messageOf(work attempt, finished db.FinishRunParams, row db.FinishRunRow) *db.Message {
	return &db.Message{
		OrganizationID: work.organizationID,
		ID:             work.reply.MessageID,
		SessionID:      work.sessionID,
		Seq:            row.LastSeq,
		Sender:         "bot",
		Content:        finished.Content,
		Citations:      finished.Citations,
		CitationNodes:  finished.CitationNodes,
		Suggestions:    finished.Suggestions,
		RunID:          &work.runID,
		CreatedAt:      row.LastActivity,
	}
}

// giveBack ends an attempt that this instance will not finish.
func (d *Dispatcher) giveBack(work attempt) error {
	err := d.release(work.organizationID, work.runID, work.number)
	d.tally.countAttempt(nil, err)
	return err
}

func toInt32(n *int) *int32 {
	if n == nil {
		return nil
	}
	return new(int32(*n))
}
