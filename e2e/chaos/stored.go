package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// stored is all that the database has of conversations.
type stored struct {
	messages       []storedMessage // by conversation and seq
	lastSeqs       map[string]int64
	byConversation map[string][]storedMessage
	bySender       map[string]map[string][]storedMessage // and content
	replies        map[string]storedMessage              // by run
	questions      map[string]storedMessage              // by run
	runs           map[string]storedRun
	records        map[string]string // the status by run
	conversations  []storedConversation
	counts         []string // that are not what they count
}

type storedConversation struct {
	ID                                         string
	LastSeq                                    int64
	Exchanges, Queued, UserUnread, StaffUnread int
	IsActive                                   bool
}

type storedMessage struct {
	ID, Conversation, Sender, Content, Run string
	Seq                                    int64
	At                                     time.Time
}

type storedRun struct {
	ID, State              string
	Attempt                int
	Asked, Lease, Finished time.Time
}

// readStored reads it, as of one moment.
func readStored(ctx context.Context, conn *pgx.Conn) (stored, error) {
	var s stored
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return s, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing was written
	s.messages, err = readAll[storedMessage](ctx, tx, `
		SELECT id::text, session_id::text, sender, content, coalesce(run_id::text, ''), seq, created_at
		FROM message_history ORDER BY session_id, seq, id`)
	if err != nil {
		return s, err
	}
	s.conversations, err = readAll[storedConversation](ctx, tx,
		"SELECT id::text, last_seq, exchanges, queued_runs, user_unread, staff_unread, active_run IS NOT NULL FROM sessions")
	if err != nil {
		return s, err
	}
	type count struct{ What string }
	counts, err := readAll[count](ctx, tx, `
		SELECT format('conversations of bot %s that are %s: %s, counted %s', bot_id, status, stored, counted)
		FROM (SELECT bot_id, status, count(*) AS stored FROM sessions WHERE NOT is_implied OR last_seq > 0 GROUP BY 1, 2) s
		FULL JOIN (SELECT bot_id, status, sum(conversations) AS counted FROM conversation_counts GROUP BY 1, 2) c USING (bot_id, status)
		WHERE coalesce(stored, 0) <> coalesce(counted, 0)
		UNION ALL
		SELECT format('conversations of inbox %s with something unread: %s, counted %s', inbox_id, stored, counted)
		FROM (SELECT inbox_id, count(*) AS stored FROM sessions WHERE staff_unread > 0 GROUP BY 1) s
		FULL JOIN (SELECT inbox_id, sum(conversations) AS counted FROM unread_counts GROUP BY 1) c USING (inbox_id)
		WHERE coalesce(stored, 0) <> coalesce(counted, 0)`)
	if err != nil {
		return s, err
	}
	for _, one := range counts {
		s.counts = append(s.counts, one.What)
	}
	runs, err := readAll[storedRun](ctx, tx, "SELECT id::text, state, attempt, created_at, lease_until, coalesce(finished_at, 'epoch') FROM runs")
	if err != nil {
		return s, err
	}
	type record struct{ ID, Status string }
	records, err := readAll[record](ctx, tx, "SELECT id::text, status FROM records")
	if err != nil {
		return s, err
	}
	s.lastSeqs, s.runs, s.records = map[string]int64{}, map[string]storedRun{}, map[string]string{}
	for _, one := range s.conversations {
		s.lastSeqs[one.ID] = one.LastSeq
	}
	for _, one := range runs {
		s.runs[one.ID] = one
	}
	for _, one := range records {
		s.records[one.ID] = one.Status
	}
	s.index()
	return s, nil
}

// index makes what is found by something of the messages.
func (s *stored) index() {
	s.byConversation, s.bySender = map[string][]storedMessage{}, map[string]map[string][]storedMessage{}
	s.replies, s.questions = map[string]storedMessage{}, map[string]storedMessage{}
	for _, one := range s.messages {
		s.byConversation[one.Conversation] = append(s.byConversation[one.Conversation], one)
		if s.bySender[one.Sender] == nil {
			s.bySender[one.Sender] = map[string][]storedMessage{}
		}
		s.bySender[one.Sender][one.Content] = append(s.bySender[one.Sender][one.Content], one)
		switch {
		case one.Run == "":
		case one.Sender == "bot":
			s.replies[one.Run] = one
		default:
			s.questions[one.Run] = one
		}
	}
}

// readAll reads rows whose columns are the fields of a struct, in their order.
func readAll[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}
