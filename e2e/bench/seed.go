package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/e2e/harness"
)

// Prefixes of IDs. Each kind of row has a prefix, so that its IDs can be computed from a number, in Go and in SQL.
const (
	userIDs       = "00000000-0000-7000-8000-"
	contactIDs    = "00000000-0000-7000-8001-"
	unansweredIDs = "00000000-0000-7000-8002-" // conversations without automatic replies
	keyIDs        = "00000000-0000-7000-8003-"
	messageIDs    = "00000000-0000-7000-8004-"
	answeredIDs   = "00000000-0000-7000-8005-" // conversations with automatic replies, at first empty
	deepIDs       = "00000000-0000-7000-8006-" // the conversation with many messages
	listedIDs     = "00000000-0000-7000-8007-" // conversations of the users many and few
	recordedIDs   = "00000000-0000-7000-8008-" // conversations with records
	recordIDs     = "00000000-0000-7000-8009-"
)

// idOf returns the id with a prefix and a number.
func idOf(prefix string, number int) string { return fmt.Sprintf("%s%012x", prefix, number) }

// sqlID returns idOf as an SQL expression.
func sqlID(prefix, number string) string {
	return fmt.Sprintf("('%s' || lpad(to_hex(%s), 12, '0'))::uuid", prefix, number)
}

// bytesOf returns idOf in the form that COPY needs.
func bytesOf(prefix string, number int) [16]byte {
	id := uuid.MustParse(prefix + "000000000000")
	var low [8]byte
	binary.BigEndian.PutUint64(low[:], uint64(number))
	copy(id[10:], low[2:])
	return id
}

const (
	userCount               = 16 // users with conversations; the users many, few and agent follow them
	messagesPerConversation = 100
	answeredCount           = idleCount // one for each idle socket
	deepMessages            = 5100
	manyConversations       = 5000
	fewConversations        = 20
	monthRecords            = 37_000
	fewRecords              = 20
	exportRecords           = 100_000
	recordsPerConversation  = 100
)

// data is the data that the database was seeded with.
type data struct {
	organization     uuid.UUID
	bot, inbox       uuid.UUID
	keys             []string // of the users with conversations
	many, few, agent string   // the keys of these users
	unanswered       int      // number of conversations without automatic replies
	recordedBots     int      // number of chatbots that were given records
}

// dataSize is the amount of data to seed in total.
type dataSize struct{ messages, records int }

// seed fills the database up to the size, while no server runs on it. Then it starts the server and
// waits until all indexes are built. It may be called again with a larger size; the busiest chatbot
// is then a new one, because counts of existing records stay as they are.
func (b *bench) seed(ctx context.Context, size dataSize) error {
	if err := b.createBots(ctx); err != nil {
		return fmt.Errorf("chatbots: %w", err)
	}
	server := b.server
	b.server = nil
	if err := server.Stop(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.url())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	b.logf("seed %d messages", size.messages)
	indexes, err := dropSearchIndexes(ctx, conn)
	if err != nil {
		return err
	}
	if b.keys == nil {
		if err := b.seedUsers(ctx, conn); err != nil {
			return err
		}
		if err := b.seedLists(ctx, conn); err != nil {
			return err
		}
	}
	if err := b.seedUnanswered(ctx, conn, size.messages/messagesPerConversation); err != nil {
		return err
	}
	if size.records > 0 {
		b.logf("seed records, up to %d for a chatbot", size.records)
		if err := b.seedAllRecords(ctx, conn, size.records); err != nil {
			return fmt.Errorf("records: %w", err)
		}
	}
	b.logf("build the indexes")
	for _, definition := range indexes {
		if _, err := conn.Exec(ctx, definition); err != nil {
			return fmt.Errorf("build a search index: %w", err)
		}
	}
	if b.server, err = b.startServer(ctx); err != nil {
		return err
	}
	if err := awaitIdle(ctx, conn); err != nil {
		return err
	}
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// createBots creates the chatbots with records, through the API.
func (b *bench) createBots(ctx context.Context) error {
	for name, id := range map[string]*string{"few": &b.bots.few, "month": &b.bots.month, "hundred": &b.bots.hundred, "all": &b.bots.all} {
		if b.keys != nil && name != "all" {
			continue
		}
		var created struct{ ID string }
		body := map[string]any{"name": name, "engine": "faq"}
		if err := harness.Call(ctx, http.MethodPost, b.server.Base+"/api/chatbots/", b.admin, body, &created); err != nil {
			return err
		}
		*id = created.ID
	}
	return nil
}

// seedUsers creates users, each with a key and a contact.
func (b *bench) seedUsers(ctx context.Context, conn *pgx.Conn) error {
	err := conn.QueryRow(ctx, `SELECT b.organization_id, b.id, i.id FROM bots b
		JOIN inboxes i ON i.organization_id = b.organization_id AND i.bot_id = b.id AND i.channel_type = 'api'
		WHERE b.is_default`).Scan(&b.organization, &b.bot, &b.inbox)
	if err != nil {
		return fmt.Errorf("find the organization: %w", err)
	}
	for n := range userCount + 3 {
		scope := "chat"
		if n == userCount+2 {
			scope = "agent"
		}
		prefix, secret := fmt.Sprintf("bench_%04d", n), rand.Text()
		hash := sha256.Sum256([]byte(secret))
		name := fmt.Sprint("user ", n)
		for _, step := range []struct {
			sql  string
			args []any
		}{
			{"INSERT INTO users (organization_id, id, name) VALUES ($1, $2, $3)", []any{b.organization, idOf(userIDs, n), name}},
			{"INSERT INTO contacts (organization_id, id, user_id, name) VALUES ($1, $2, $3, $4)", []any{b.organization, idOf(contactIDs, n), idOf(userIDs, n), name}},
			{
				`INSERT INTO api_keys (organization_id, id, user_id, name, prefix, secret_hash, scopes) VALUES ($1, $2, $3, 'bench', $4, $5, $6)`,
				[]any{b.organization, idOf(keyIDs, n), idOf(userIDs, n), prefix, hash[:], []string{scope}},
			},
		} {
			if _, err := conn.Exec(ctx, step.sql, step.args...); err != nil {
				return fmt.Errorf("users: %w", err)
			}
		}
		b.keys = append(b.keys, prefix+"."+secret)
	}
	b.many, b.few, b.agent = b.keys[userCount], b.keys[userCount+1], b.keys[userCount+2]
	b.keys = b.keys[:userCount]
	return nil
}

// conversations are conversations to seed, with the numbers from first to end-1 and some messages each. The last
// message of each has the age that ageOf returns.
type conversations struct {
	prefix      string // of their ids
	first, end  int
	bot, inbox  uuid.UUID
	owner       int // the number of their user, or everyone
	messages    int // in each
	autoReplies bool
}

// everyone is the owner of conversations that the first userCount users own in turn.
const everyone = -1

// ownerOf returns the number of the owner of conversation n.
func (c conversations) ownerOf(n int) int {
	if c.owner == everyone {
		return n % userCount
	}
	return c.owner
}

// age returns the age of the last message of conversation n in minutes, as SQL: up to ten months, and not in the
// order of the numbers.
const age = "(60 + n::bigint * 7919 % 432000)"

// ageOf returns age.
func ageOf(n int) time.Duration { return time.Duration(60+n*7919%432_000) * time.Minute }

// messageInterval is the time between two messages of a conversation.
const messageInterval = 30 * time.Second

// seedConversations inserts conversations. Triggers stay on, because some maintain counters.
func (b *bench) seedConversations(ctx context.Context, conn *pgx.Conn, c conversations) error {
	owner := strconv.Itoa(c.owner)
	if c.owner == everyone {
		owner = "n % " + strconv.Itoa(userCount)
	}
	_, err := conn.Exec(ctx, `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, auto_reply, last_seq, last_activity, created_at)
		SELECT $1, `+sqlID(c.prefix, "n")+`, `+sqlID(userIDs, owner)+`, $2, $3, `+sqlID(contactIDs, owner)+`, $4, $5::bigint,
		       $6::timestamptz - interval '1 minute' * `+age+`, $6::timestamptz - interval '1 minute' * `+age+` - interval '30 seconds' * $5::bigint
		FROM generate_series($7::integer, $8::integer - 1) n`,
		b.organization, c.bot, c.inbox, c.autoReplies, c.messages, now, c.first, c.end)
	if err != nil {
		return fmt.Errorf("conversations: %w", err)
	}
	return nil
}

// now is the reference time of all ages, with the precision of PostgreSQL.
var now = time.Now().Truncate(time.Microsecond)

// seedLists creates the conversations of the users many and few, the deep conversation of the
// agent, and those with automatic replies.
func (b *bench) seedLists(ctx context.Context, conn *pgx.Conn) error {
	all := []conversations{
		{prefix: listedIDs, end: manyConversations, owner: userCount, messages: 1},
		{prefix: listedIDs, first: manyConversations, end: manyConversations + fewConversations, owner: userCount + 1, messages: 1},
		{prefix: deepIDs, end: 1, owner: userCount + 2, messages: deepMessages},
		{prefix: answeredIDs, end: answeredCount, owner: everyone, autoReplies: true},
	}
	for _, c := range all {
		c.bot, c.inbox = b.bot, b.inbox
		if err := b.seedConversations(ctx, conn, c); err != nil {
			return err
		}
		if err := b.seedMessages(ctx, conn, c); err != nil {
			return err
		}
	}
	return nil
}

// seedUnanswered adds conversations without automatic replies up to the number.
func (b *bench) seedUnanswered(ctx context.Context, conn *pgx.Conn, total int) error {
	const block = 2000
	for first := b.unanswered; first < total; first += block {
		c := conversations{
			prefix: unansweredIDs, first: first, end: min(first+block, total), owner: everyone, messages: messagesPerConversation, bot: b.bot, inbox: b.inbox,
		}
		if err := b.seedConversations(ctx, conn, c); err != nil {
			return err
		}
		if err := b.seedMessages(ctx, conn, c); err != nil {
			return err
		}
	}
	b.unanswered = total
	return nil
}
