package visit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/reply"
	"parley/internal/store"
)

// Message is a message from a visitor.
type Message struct {
	ID       uuid.UUID // zero: generated
	ClientID string    // the client's own ID of the message, for idempotency; may be empty
	Hash     []byte    // of the content; a repeat of ClientID must have the same
	Content  string
	// HasAttachments refuses the message: visitors may not send attachments.
	HasAttachments bool
}

// Sent is a message of a visit.
type Sent struct {
	MessageID  uuid.UUID
	Seq        int64
	CreatedAt  time.Time
	IsReplayed bool // an earlier message had the same ClientID
}

// Send adds a visitor's message to a visit. The bot answers the messages of a visit one after another.
func (v *Visits) Send(ctx context.Context, id uuid.UUID, message Message) (Sent, error) {
	if message.HasAttachments {
		return Sent{}, apperr.New(apperr.Forbidden, "Anonymous visitors cannot send attachments. Use an API key.")
	}
	if strings.TrimSpace(message.Content) == "" {
		return Sent{}, apperr.Field(apperr.InvalidMessage, "/content", "must not be blank when there are no attachments")
	}
	if utf8.RuneCountInString(message.Content) > v.maxLength {
		return Sent{}, apperr.New(apperr.TooLarge, fmt.Sprintf("A message of an anonymous visitor can have at most %d characters.", v.maxLength))
	}
	served := v.find(id)
	if served == nil {
		return Sent{}, apperr.New(apperr.NotFound, noVisit)
	}
	asked := turn{ID: message.ID, Sender: "user", Content: message.Content, ClientID: message.ClientID, Hash: message.Hash}
	if asked.ID == uuid.Nil {
		asked.ID = store.NewID()
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	said, err := v.say(ctx, served, asked)
	sent := Sent{MessageID: said.ID, Seq: said.Seq, CreatedAt: said.CreatedAt}
	if errors.Is(err, errReplayed) {
		sent.IsReplayed = true
		return sent, nil
	}
	if err != nil {
		return Sent{}, err
	}
	served.waiting = append(served.waiting, said)
	if !served.isAnswering {
		served.isAnswering = true
		v.answering.Go(func() { v.answer(served) })
	}
	return sent, nil
}

// errReplayed is returned for a message that the client has sent before.
var errReplayed = errors.New("the message was sent before")

// say adds a turn and publishes it. With errReplayed, it returns the turn that the client has sent before. It
// requires the visit's lock.
func (v *Visits) say(ctx context.Context, served *servedVisit, added turn) (said turn, err error) {
	err = v.states.change(ctx, served.id, func(s *state) error {
		if earlier, isReplayed := s.sent(added.ClientID); isReplayed {
			if !earlier.repeats(added) {
				return apperr.New(apperr.Unprocessable, "The client has sent another message under this id.")
			}
			said = earlier
			return errReplayed
		}
		said = s.add(added, v.limits.VisitBytes)
		if added.Sender == "user" && !served.hasRoom(s) {
			return reply.ErrQueueFull()
		}
		return nil
	})
	if err != nil {
		return said, err
	}
	if said.Seq == served.lastSeq+1 {
		served.lastSeq = said.Seq
	} else {
		v.lookUp(served.id) // other turns were added on other instances
	}
	v.feed.Publish(served.id, &feed.MessageStored{Message: said.message(served.id)})
	v.enforceBytes(ctx)
	return said, nil
}

// hasRoom reports whether the queue accepts another question, and all questions in it are still kept.
func (s *servedVisit) hasRoom(seen *state) bool {
	return len(s.waiting) == 0 || len(s.waiting) <= reply.QueueLimit && s.waiting[0].Seq >= seen.Turns[0].Seq
}

// readAfter returns the turns after a seq, none if the visit has ended. If one of them is the reply
// of another instance, that reply has ended here before its message is returned. It requires the
// visit's lock.
func (v *Visits) readAfter(ctx context.Context, served *servedVisit, after int64) ([]db.Message, error) {
	seen, err := v.states.read(ctx, served.id, false)
	if apperr.Is(err, apperr.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []db.Message
	for _, t := range seen.Turns {
		if t.Seq > after {
			found = append(found, *t.message(served.id))
		}
		if remote := served.remote.Load(); remote != nil && t.RunID != nil && *t.RunID == remote.RunID {
			remote.Finish(1, &reply.Outcome{State: "completed", FinishReason: "stop", Content: t.Content, Seq: t.Seq})
		}
	}
	return found, nil
}

// answer answers the waiting questions of a visit in their order.
func (v *Visits) answer(served *servedVisit) {
	ctx := context.WithoutCancel(v.running) // text that was written before the server stops is still stored
	for {
		served.mu.Lock()
		var seen state
		var err error
		if len(served.waiting) > 0 {
			seen, err = v.states.read(ctx, served.id, false)
		}
		if len(served.waiting) == 0 || err != nil {
			served.waiting, served.isAnswering = nil, false
			served.mu.Unlock()
			return
		}
		question := seen.question(served.bot, served.waiting[0])
		served.mu.Unlock()
		v.answerFirst(ctx, served, question)
	}
}

// answerFirst has the bot answer the first waiting question.
func (v *Visits) answerFirst(ctx context.Context, served *servedVisit, question bot.Question) {
	r := reply.New(store.NewID(), served.id, store.NewID())
	shared := v.feed.ShareText(r, 1)
	defer shared.Close()
	v.feed.PublishLocal(served.id, &feed.ReplyStarted{Reply: r})
	v.notify(served.id, r.RunID, replyStarted)
	answer, err := v.respond(question, r, shared)
	outcome := reply.NewOutcome(r.Text(), answer, err)
	if err != nil {
		v.log.Error("answer visitor", "visit_id", served.id, "err", err)
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	served.waiting = served.waiting[1:]
	r.Finish(1, outcome)
	if outcome.Content == "" {
		v.notify(served.id, r.RunID, replyEmpty)
		return
	}
	columns := reply.ColumnsOf(answer)
	_, err = v.say(ctx, served, turn{
		ID:          r.MessageID,
		Sender:      "bot",
		Content:     outcome.Content,
		Citations:   columns.Citations,
		Suggestions: columns.Suggestions,
		RunID:       &r.RunID,
	})
	if err != nil && !apperr.Is(err, apperr.NotFound) {
		v.log.Error("store reply to visitor", "visit_id", served.id, "err", err)
	}
}

// respond has the bot answer when a slot is free.
func (v *Visits) respond(question bot.Question, r *reply.Reply, shared *feed.SharedText) (bot.Answer, error) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-v.running.Done():
		return bot.Answer{}, context.Cause(v.running)
	}
	// The bot may have changed, or been deleted, since the visit began.
	owner, err := v.bots.GetByID(v.running, question.Bot.OrganizationID, question.Bot.ID)
	if err != nil {
		return bot.Answer{}, err
	}
	question.Bot = owner
	return v.bots.Respond(v.running, question, func(delta string) error {
		r.Append(1, delta)
		shared.Grew()
		return context.Cause(v.running)
	})
}
