package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Every kind of row has ids of its own that can be computed from a number, here and
// in SQL.
const (
	users         = "00000000-0000-7000-8000-"
	contacts      = "00000000-0000-7000-8001-"
	conversations = "00000000-0000-7000-8002-"
	keys          = "00000000-0000-7000-8003-"
	messages      = "00000000-0000-7000-8004-"
)

func idOf(kind string, number int) string { return fmt.Sprintf("%s%012x", kind, number) }

// sqlID is idOf in SQL.
func sqlID(kind, number string) string {
	return fmt.Sprintf("('%s' || lpad(to_hex(%s), 12, '0'))::uuid", kind, number)
}

const (
	userCount       = 16
	messagesPerTalk = 100
)

// contents are what is said: no quotation marks, so that they are themselves in SQL
// and JSON.
var contents = []string{
	"Could you tell me when my order will arrive? I placed it last Tuesday and have heard nothing since.",
	"請問我的訂單什麼時候會到?我上星期二下的單,到現在都還沒有收到任何通知,麻煩幫我查一下,謝謝。",
	"Thanks, that helps.",
	"好的,我知道了。",
}

// data is what was put into the database.
type data struct {
	organization uuid.UUID
	keys         []string // of the users
	// So many conversations have messages and are not answered by the bot; as many
	// after them have none and are.
	silent int
}

// seed puts conversations and messages into the organization that the server has
// made at its start.
func (s *stack) seed(ctx context.Context, size int) error {
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var bot, inbox uuid.UUID
	err = conn.QueryRow(ctx, `SELECT b.organization_id, b.id, i.id FROM bots b
		JOIN inboxes i ON i.organization_id = b.organization_id AND i.bot_id = b.id AND i.channel_type = 'api'
		WHERE b.is_default`).Scan(&s.organization, &bot, &inbox)
	if err != nil {
		return fmt.Errorf("find the organization: %w", err)
	}
	s.silent = size
	// What follows is consistent; checking it row by row takes longer than the rows.
	if _, err := conn.Exec(ctx, "SET session_replication_role = replica"); err != nil {
		return err
	}
	if err := s.seedUsers(ctx, conn); err != nil {
		return fmt.Errorf("users: %w", err)
	}
	steps := []struct {
		what, sql string
		args      []any
	}{
		{"contacts", `INSERT INTO contacts (organization_id, id, user_id, name)
			SELECT $1, ` + sqlID(contacts, "n") + `, ` + sqlID(users, "n") + `, 'user ' || n
			FROM generate_series(0, $2::integer - 1) n`, []any{s.organization, userCount}},
		{"conversations", `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, auto_reply, last_seq, last_activity)
			SELECT $1, ` + sqlID(conversations, "n") + `, ` + sqlID(users, "n % $4") + `, $2, $3, ` + sqlID(contacts, "n % $4") + `,
			       n >= $5, CASE WHEN n < $5 THEN $6::integer ELSE 0 END, clock_timestamp() - interval '1 hour'
			FROM generate_series(0, 2 * $5::integer - 1) n`, []any{s.organization, bot, inbox, userCount, size, messagesPerTalk}},
		{
			"messages", `INSERT INTO message_history (organization_id, id, session_id, seq, sender, sender_id, content, created_at)
			SELECT $1, ` + sqlID(messages, "seq * $3::bigint + n") + `, ` + sqlID(conversations, "n") + `, seq, CASE WHEN seq % 2 = 1 THEN 'user' ELSE 'bot' END,
			       CASE WHEN seq % 2 = 1 THEN ` + sqlID(contacts, "n % $4") + ` ELSE $2 END,
			       ($6::text[])[1 + (seq + n) % 4], clock_timestamp() - interval '1 hour' * (1 + $5 - seq)
			FROM generate_series(1, $5::integer) seq, generate_series(0, $3::integer - 1) n`,
			[]any{s.organization, bot, size, userCount, messagesPerTalk, contents},
		},
	}
	for _, step := range steps {
		if _, err := conn.Exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// seedUsers makes users, each with a key.
func (s *stack) seedUsers(ctx context.Context, conn *pgx.Conn) error {
	for n := range userCount {
		_, err := conn.Exec(ctx, "INSERT INTO users (organization_id, id, name) VALUES ($1, $2, $3)",
			s.organization, idOf(users, n), fmt.Sprint("user ", n))
		if err != nil {
			return err
		}
		prefix, secret := fmt.Sprintf("bench_%04d", n), rand.Text()
		hash := sha256.Sum256([]byte(secret))
		_, err = conn.Exec(ctx, `INSERT INTO api_keys (organization_id, id, user_id, name, prefix, secret_hash, scopes)
			VALUES ($1, $2, $3, 'bench', $4, $5, '{chat}')`, s.organization, idOf(keys, n), idOf(users, n), prefix, hash[:])
		if err != nil {
			return err
		}
		s.keys = append(s.keys, prefix+"."+secret)
	}
	return nil
}

// organizationOf finds the one organization of the database, once.
type organizationOf struct {
	pool  *pgxpool.Pool
	found atomic.Pointer[uuid.UUID]
}

func (o *organizationOf) get(ctx context.Context) (uuid.UUID, error) {
	if id := o.found.Load(); id != nil {
		return *id, nil
	}
	var id uuid.UUID
	if err := o.pool.QueryRow(ctx, "SELECT id FROM organizations").Scan(&id); err != nil {
		return id, err
	}
	o.found.Store(&id)
	return id, nil
}
