package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// snapshot is the data that the database stores about conversations at one moment.
type snapshot struct {
	messages       []storedMessage // by conversation and seq
	lastSeqs       map[string]int64
	byConversation map[string][]storedMessage
	bySender       map[string]map[string][]storedMessage // by sender and content
	replies        map[string]storedMessage              // by run
	questions      map[string]storedMessage              // by run
	runs           map[string]storedRun
	records        map[string]string // status by run
	conversations  []storedConversation
	wrongCounts    []string // counters that differ from the actual counts
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

// storedRun is a run. Question is the ID of the message that it answers: a request that is repeated
// after a failure starts another run for the same question.
type storedRun struct {
	ID, State, Question    string
	Attempt                int
	Asked, Lease, Finished time.Time
}

// readSnapshot reads a consistent snapshot.
func readSnapshot(ctx context.Context, conn *pgx.Conn) (snapshot, error) {
	var s snapshot
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return s, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // it only reads
	s.messages, err = queryAll[storedMessage](ctx, tx, `
		SELECT id::text, session_id::text, sender, content, coalesce(run_id::text, ''), seq, created_at
		FROM message_history ORDER BY session_id, seq, id`)
	if err != nil {
		return s, err
	}
	s.conversations, err = queryAll[storedConversation](ctx, tx,
		"SELECT id::text, last_seq, exchanges, queued_runs, user_unread, staff_unread, active_run IS NOT NULL FROM sessions")
	if err != nil {
		return s, err
	}
	if err := s.compareCounts(ctx, tx); err != nil {
		return s, err
	}
	runs, err := queryAll[storedRun](ctx, tx, "SELECT id::text, state, question_id::text, attempt, created_at, lease_until, coalesce(finished_at, 'epoch') FROM runs")
	if err != nil {
		return s, err
	}
	type record struct{ ID, Status string }
	records, err := queryAll[record](ctx, tx, "SELECT id::text, status FROM records")
	if err != nil {
		return s, err
	}
	s.lastSeqs, s.runs, s.records = map[string]int64{}, map[string]storedRun{}, map[string]string{}
	for _, c := range s.conversations {
		s.lastSeqs[c.ID] = c.LastSeq
	}
	for _, run := range runs {
		s.runs[run.ID] = run
	}
	for _, r := range records {
		s.records[r.ID] = r.Status
	}
	s.index()
	return s, nil
}

// compareCounts collects the counters that differ from the actual counts.
func (s *snapshot) compareCounts(ctx context.Context, tx pgx.Tx) error {
	type difference struct{ Text string }
	differences, err := queryAll[difference](ctx, tx, `
		SELECT format('conversations of bot %s with status %s: %s, counter %s', bot_id, status, stored, counted)
		FROM (SELECT bot_id, status, count(*) AS stored FROM sessions WHERE NOT is_implied OR last_seq > 0 GROUP BY 1, 2) s
		FULL JOIN (SELECT bot_id, status, sum(conversations) AS counted FROM conversation_counts GROUP BY 1, 2) c USING (bot_id, status)
		WHERE coalesce(stored, 0) <> coalesce(counted, 0)
		UNION ALL
		SELECT format('unread conversations of inbox %s: %s, counter %s', inbox_id, stored, counted)
		FROM (SELECT inbox_id, count(*) AS stored FROM sessions WHERE staff_unread > 0 GROUP BY 1) s
		FULL JOIN (SELECT inbox_id, sum(conversations) AS counted FROM unread_counts GROUP BY 1) c USING (inbox_id)
		WHERE coalesce(stored, 0) <> coalesce(counted, 0)`)
	for _, d := range differences {
		s.wrongCounts = append(s.wrongCounts, d.Text)
	}
	return err
}

// index fills the maps of messages.
func (s *snapshot) index() {
	s.byConversation, s.bySender = map[string][]storedMessage{}, map[string]map[string][]storedMessage{}
	s.replies, s.questions = map[string]storedMessage{}, map[string]storedMessage{}
	for _, m := range s.messages {
		s.byConversation[m.Conversation] = append(s.byConversation[m.Conversation], m)
		if s.bySender[m.Sender] == nil {
			s.bySender[m.Sender] = map[string][]storedMessage{}
		}
		s.bySender[m.Sender][m.Content] = append(s.bySender[m.Sender][m.Content], m)
		switch {
		case m.Run == "":
		case m.Sender == "bot":
			s.replies[m.Run] = m
		default:
			s.questions[m.Run] = m
		}
	}
}

// queryAll reads rows into structs, column by column in the order of the fields.
func queryAll[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// runsByQuestion returns the IDs of the runs of each question.
func (s *snapshot) runsByQuestion() map[string][]string {
	runs := map[string][]string{}
	for id, run := range s.runs {
		runs[run.Question] = append(runs[run.Question], id)
	}
	return runs
}
