package run

import (
	"context"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/reply"
	"parley/internal/store"
)

// cancelTime is how long Cancel waits for a reply to stop.
const cancelTime = 2 * time.Second

// Reply returns the reply of a run, in progress on any instance or finished. Without Redis, the text of another
// instance arrives as a whole when the run has finished.
func (d *Dispatcher) Reply(ctx context.Context, run db.Run) (*reply.Reply, error) {
	if run.FinishedAt == nil {
		return d.follow(run), nil
	}
	outcome, err := d.readOutcome(ctx, run)
	if err != nil {
		return nil, err
	}
	ended := reply.New(run.ID, run.SessionID, run.ReplyID)
	ended.Restart(int(run.Attempt))
	ended.Finish(int(run.Attempt), outcome)
	return ended, nil
}

// follow returns the reply of an unfinished run, and waits for its outcome from now on.
func (d *Dispatcher) follow(run db.Run) *reply.Reply {
	live := d.live.add(run.OrganizationID, run.ID, run.SessionID, run.ReplyID)
	live.Restart(int(run.Attempt))
	d.live.await(run.ID)
	d.feed.ReadText(live, int(run.Attempt))
	return live
}

// Cancel cancels a run once for an idempotency key. A queued run never starts. A running one stops within a second
// and keeps its text; Cancel waits for that for a limited time. A finished run is not changed.
func (d *Dispatcher) Cancel(ctx context.Context, run db.Run, key *store.IdempotencyKey) error {
	state, err := store.Idempotent(ctx, d.store, key, func(q *db.Queries) (string, error) {
		state, err := q.CancelRun(ctx, run.OrganizationID, run.SessionID, run.ID)
		if apperr.Is(err, apperr.NotFound) {
			return "", nil // it has finished
		}
		return state, err
	})
	if err != nil {
		return err
	}
	r, err := d.Reply(ctx, run)
	if err != nil {
		return err
	}
	if state != "" {
		d.notify(run.SessionID, run.ID)
	}
	switch state {
	case "cancelled":
		r.Finish(int(run.Attempt), &reply.Outcome{State: "cancelled", FinishReason: "cancelled"})
		d.live.remove(run.ID)
	case "running":
		d.live.stop(run.ID, int(run.Attempt), reply.ErrCancelled)
	}
	if outcome, ended := r.Outcome(); outcome == nil {
		select {
		case <-ended:
		case <-time.After(cancelTime):
		case <-ctx.Done():
		}
	}
	return nil
}

// readOutcome reads how a finished run ended.
func (d *Dispatcher) readOutcome(ctx context.Context, run db.Run) (*reply.Outcome, error) {
	stored, err := d.store.GetMessage(ctx, run.OrganizationID, run.ReplyID)
	switch {
	case apperr.Is(err, apperr.NotFound):
		return outcomeOf(run, nil)
	case err != nil:
		return nil, err
	}
	return outcomeOf(run, &stored.Message)
}

// outcomeOf returns how a finished run ended. Its message is nil if it has no text.
func outcomeOf(run db.Run, stored *db.Message) (*reply.Outcome, error) {
	outcome := &reply.Outcome{State: run.State, FinishReason: *run.FinishReason}
	if run.Error != nil {
		outcome.Err = apperr.New(apperr.Kind(*run.Error), *run.Detail)
	}
	answer := &outcome.Answer
	answer.PromptTokens, answer.CompletionTokens = toInt(run.PromptTokens), toInt(run.CompletionTokens)
	answer.CachedTokens, answer.ReasoningTokens = toInt(run.CachedTokens), toInt(run.ReasoningTokens)
	if run.Model != nil {
		answer.Model = *run.Model
	}
	if stored == nil {
		return outcome, nil
	}
	outcome.Content, outcome.Seq = stored.Content, stored.Seq
	columns := reply.Columns{Citations: stored.Citations, CitationNodes: stored.CitationNodes, Suggestions: stored.Suggestions}
	return outcome, columns.Decode(answer)
}

func toInt(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}
