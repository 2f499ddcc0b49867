package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/store"
)

// Run returns a run of a conversation that the caller may read.
func (c *Chat) Run(ctx context.Context, who auth.Principal, id string) (db.Run, error) {
	runID, err := parseID(id, noRun)
	if err != nil {
		return db.Run{}, err
	}
	found, err := c.store.GetRun(ctx, who.OrganizationID, runID)
	if err != nil {
		return db.Run{}, apperr.Rephrase(err, apperr.NotFound, noRun)
	}
	return found.Run, mayRead(who, belonging{found.OwnerID, found.Run.SessionID, found.BotID, found.ContactID})
}

// Resume returns the reply of a run that the caller may read: as it is being
// written, or as it ended.
func (c *Chat) Resume(ctx context.Context, who auth.Principal, id string) (*Reply, error) {
	run, err := c.Run(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return c.replyOf(ctx, run)
}

func (c *Chat) replyOf(ctx context.Context, run db.Run) (*Reply, error) {
	if run.FinishedAt != nil {
		outcome, err := c.outcomeOf(ctx, run)
		if err != nil {
			return nil, err
		}
		ended := newReply(run.ID, run.SessionID, run.ReplyID)
		ended.restart(int(run.Attempt))
		ended.end(int(run.Attempt), outcome)
		return ended, nil
	}
	growing := c.live.add(run.OrganizationID, run.ID, run.SessionID, run.ReplyID)
	growing.restart(int(run.Attempt))
	c.live.await(run.ID)
	c.hints.noteText(run.SessionID, run.ID, int(run.Attempt))
	return growing, nil
}

// Follow waits for more of a reply than a position: until the text has grown, the
// reply has ended, idle has passed (nothing is returned then) or ctx is done. It
// does not depend on the process that writes the reply being this one: without Redis
// the text then comes as a whole when it has ended.
func (c *Chat) Follow(ctx context.Context, reply *Reply, at Position, idle time.Duration) (delta string, after Position, isReset bool, outcome *Outcome, err error) {
	deadline := time.NewTimer(idle)
	defer deadline.Stop()
	for {
		delta, after, isReset, outcome, grown := reply.Next(at)
		if delta != "" || isReset || outcome != nil {
			return delta, after, isReset, outcome, nil
		}
		at = after
		select {
		case <-grown:
		case <-deadline.C:
			return "", at, false, nil, nil
		case <-ctx.Done():
			return "", at, false, nil, ctx.Err()
		}
	}
}

// cancelPatience is how long Cancel waits for the reply to stop.
const cancelPatience = 2 * time.Second

// Cancel stops a run of a conversation that the caller may read: what waits is
// never begun, what is being written stops within a second and keeps its text. It
// returns the run as it is then; one that is over is left as it was.
func (c *Chat) Cancel(ctx context.Context, who auth.Principal, id string, key *store.IdempotencyKey) (db.Run, error) {
	run, err := c.Run(ctx, who, id)
	if err != nil {
		return db.Run{}, err
	}
	state, err := store.Idempotent(ctx, c.store, key, func(q *db.Queries) (string, error) {
		state, err := q.CancelRun(ctx, run.OrganizationID, run.SessionID, run.ID)
		if apperr.Is(err, apperr.NotFound) {
			return "", nil // it is over
		}
		return state, err
	})
	if err != nil {
		return db.Run{}, err
	}
	reply, err := c.replyOf(ctx, run)
	if err != nil {
		return db.Run{}, err
	}
	if state != "" {
		c.tellRun(run.SessionID, run.ID)
	}
	switch state {
	case "cancelled":
		reply.end(int(run.Attempt), &Outcome{State: "cancelled", FinishReason: "cancelled"})
		c.live.remove(run.ID)
	case "running":
		c.live.stop(run.ID, int(run.Attempt), errCancelled)
	}
	waiting, cancel := context.WithTimeout(ctx, cancelPatience)
	defer cancel()
	for at := reply.Beginning(); waiting.Err() == nil; {
		_, after, _, outcome, _ := c.Follow(waiting, reply, at, cancelPatience)
		if outcome != nil {
			break
		}
		at = after
	}
	return c.Run(ctx, who, id)
}

// outcomeOf reads how a finished run ended.
func (c *Chat) outcomeOf(ctx context.Context, run db.Run) (*Outcome, error) {
	stored, err := c.store.GetMessage(ctx, run.OrganizationID, run.ReplyID)
	switch {
	case apperr.Is(err, apperr.NotFound):
		return toOutcome(run, nil)
	case err != nil:
		return nil, err
	}
	return toOutcome(run, &stored.Message)
}

// toOutcome tells how a run ended by what is stored of it; nil where it has no text.
func toOutcome(run db.Run, stored *db.Message) (*Outcome, error) {
	outcome := &Outcome{State: run.State, FinishReason: *run.FinishReason}
	if run.Error != nil {
		outcome.Err = apperr.New(apperr.Kind(*run.Error), *run.Detail)
	}
	outcome.Answer.PromptTokens, outcome.Answer.CompletionTokens = toInt(run.PromptTokens), toInt(run.CompletionTokens)
	if stored == nil {
		return outcome, nil
	}
	outcome.Content, outcome.Seq = stored.Content, stored.Seq
	return outcome, readAnswer(*stored, &outcome.Answer)
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

func toInt(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}
