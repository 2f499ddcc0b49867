package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/fault"
)

const (
	// maxAttempts bounds how often a run is taken up: what kills the process each
	// time must not do so for ever.
	maxAttempts = 3
	// sweepInterval is how often abandoned runs are looked for.
	sweepInterval = 2 * time.Second
	// forgetInterval is how often Idempotency-Keys, and implied conversations without a
	// message, of more than a day ago are forgotten.
	forgetInterval = time.Hour
	// sweepBatch is how many are taken up at a time.
	sweepBatch = 50
)

// Run returns a run of a conversation that the caller may read.
func (c *Chat) Run(ctx context.Context, who auth.Principal, id string) (db.Run, error) {
	runID, err := parseID(id, noRun)
	if err != nil {
		return db.Run{}, err
	}
	found, err := c.store.GetRun(ctx, who.OrganizationID, runID)
	if err != nil {
		return db.Run{}, fault.Say(err, fault.NotFound, noRun)
	}
	return found.Run, mayRead(who, found.OwnerID)
}

// Follow waits for more of a reply than a position: until the text has grown, the
// reply has ended, idle has passed (nothing is returned then) or ctx is done. It
// does not depend on the process that writes the reply being this one, and bears
// with a database that is away for as long as a finished reply tries to be stored.
func (c *Chat) Follow(ctx context.Context, organization uuid.UUID, reply *Reply, at Position, idle time.Duration) (delta string, after Position, isReset bool, outcome *Outcome, err error) {
	deadline := time.NewTimer(idle)
	defer deadline.Stop()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	awaySince := time.Time{}
	for {
		delta, after, isReset, outcome, grown := reply.Next(at)
		if delta != "" || isReset || outcome != nil {
			return delta, after, isReset, outcome, nil
		}
		at = after
		select {
		case <-grown:
		case <-look.C:
			err := c.look(ctx, organization, reply)
			switch {
			case err == nil:
				awaySince = time.Time{}
			case !fault.Is(err, fault.Unavailable), !awaySince.IsZero() && time.Since(awaySince) > finishPatience:
				return "", at, false, nil, err
			case awaySince.IsZero():
				awaySince = time.Now()
			}
		case <-deadline.C:
			return "", at, false, nil, nil
		case <-ctx.Done():
			return "", at, false, nil, ctx.Err()
		}
	}
}

// look ends a reply whose run is finished in the database: another process wrote
// it, or its conversation is deleted.
func (c *Chat) look(ctx context.Context, organization uuid.UUID, reply *Reply) error {
	found, err := c.store.GetRun(ctx, organization, reply.RunID)
	if fault.Is(err, fault.NotFound) {
		gone := fault.New(fault.NotFound, "The conversation was deleted.")
		reply.end(0, &Outcome{State: "failed", FinishReason: "error", Content: reply.written(), Err: gone})
		return nil
	}
	if err != nil || found.Run.FinishedAt == nil {
		return err
	}
	outcome, err := c.outcomeOf(ctx, found.Run)
	if err == nil {
		reply.end(int(found.Run.Attempt), outcome)
	}
	return err
}

// outcomeOf reads how a finished run ended.
func (c *Chat) outcomeOf(ctx context.Context, run db.Run) (*Outcome, error) {
	outcome := &Outcome{State: run.State, FinishReason: *run.FinishReason}
	if run.Error != nil {
		outcome.Err = fault.New(fault.Kind(*run.Error), *run.Detail)
	}
	outcome.Answer.PromptTokens, outcome.Answer.CompletionTokens = toInt(run.PromptTokens), toInt(run.CompletionTokens)
	stored, err := c.store.GetMessage(ctx, run.OrganizationID, run.ReplyID)
	if fault.Is(err, fault.NotFound) {
		return outcome, nil
	}
	if err != nil {
		return nil, err
	}
	outcome.Content = stored.Message.Content
	err = readAnswer(stored.Message, &outcome.Answer)
	return outcome, err
}

// readAnswer reads what was stored beside a reply's text.
func readAnswer(message db.Message, answer *bot.Answer) error {
	for column, into := range map[*json.RawMessage]any{
		&message.Citations:     &answer.Citations,
		&message.CitationNodes: &answer.Nodes,
		&message.Suggestions:   &answer.Suggestions,
	} {
		if *column == nil {
			continue
		}
		if err := json.Unmarshal(*column, into); err != nil {
			return fmt.Errorf("read the stored reply: %w", err)
		}
	}
	return nil
}

// sweep takes up runs that nobody works on any more, ends visits that are over,
// looks out for watchers and forgets old Idempotency-Keys, until the replies stop.
func (c *Chat) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for forgotten := (time.Time{}); ; {
		if time.Since(forgotten) > forgetInterval {
			forgotten = time.Now()
			if err := c.store.DeleteOldIdempotencyKeys(c.sweeping); err != nil && c.sweeping.Err() == nil {
				c.log.Error("old idempotency keys could not be forgotten", "error", err)
			}
			if err := c.store.DeleteEmptyConversations(c.sweeping); err != nil && c.sweeping.Err() == nil {
				c.log.Error("conversations without a message could not be forgotten", "error", err)
			}
		}
		c.endVisits(time.Now())
		if err := c.takeUp(c.sweeping); err != nil && c.sweeping.Err() == nil {
			c.log.Error("abandoned runs could not be taken up", "error", err)
		}
		if err := c.lookOut(c.sweeping); err != nil && c.sweeping.Err() == nil {
			c.log.Error("the watched conversations could not be compared", "error", err)
		}
		select {
		case <-c.sweeping.Done():
			return
		case <-ticker.C:
		}
	}
}

func (c *Chat) takeUp(ctx context.Context) error {
	abandoned, err := c.store.ListAbandonedRuns(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, run := range abandoned {
		if run.State == "queued" {
			if work, ok := c.next(run.OrganizationID, run.SessionID); ok {
				c.replies.Go(func() { c.answer(work) })
			}
			continue
		}
		taken, err := c.store.TakeUpRun(ctx, db.TakeUpRunParams{
			OrganizationID: run.OrganizationID,
			ID:             run.ID,
			Attempt:        run.Attempt,
			LeaseSeconds:   leaseSeconds,
		})
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		work, ok := c.begun(ctx, taken.OrganizationID, taken.SessionID, taken.ID, taken.QuestionID, taken.ReplyID, int(taken.Attempt))
		if !ok {
			continue
		}
		c.log.Info("an abandoned run is taken up", "run_id", run.ID, "attempt", taken.Attempt)
		c.replies.Go(func() {
			if work.attempt > maxAttempts {
				c.giveUp(work)
				return
			}
			c.answer(work)
		})
	}
	return nil
}

// giveUp fails a run that was taken up too often, and goes on with what waits.
func (c *Chat) giveUp(work task) {
	outcome := &Outcome{
		State:        "failed",
		FinishReason: "error",
		Err:          fault.New(fault.Internal, "The bot could not answer: it was interrupted too often."),
	}
	isQueued, err := c.finish(c.replying, work, outcome, nil)
	c.live.remove(work.runID)
	if err != nil {
		c.log.Error("a run could not be given up", "run_id", work.runID, "error", err)
	}
	if !isQueued {
		return
	}
	if next, ok := c.next(work.organizationID, work.sessionID); ok {
		c.answer(next)
	}
}

func toInt(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}
