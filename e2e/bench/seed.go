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

// Every kind of row has ids of its own that can be computed from a number, here and
// in SQL.
const (
	users         = "00000000-0000-7000-8000-"
	contacts      = "00000000-0000-7000-8001-"
	silentTalks   = "00000000-0000-7000-8002-" // where the bot does not answer
	keys          = "00000000-0000-7000-8003-"
	messages      = "00000000-0000-7000-8004-"
	answeredTalks = "00000000-0000-7000-8005-" // where it does; they begin empty
	deepTalks     = "00000000-0000-7000-8006-" // the one with many messages
	listedTalks   = "00000000-0000-7000-8007-" // of the users many and few
	recordTalks   = "00000000-0000-7000-8008-"
	recordIDs     = "00000000-0000-7000-8009-"
)

func idOf(kind string, number int) string { return fmt.Sprintf("%s%012x", kind, number) }

// sqlID is idOf in SQL.
func sqlID(kind, number string) string {
	return fmt.Sprintf("('%s' || lpad(to_hex(%s), 12, '0'))::uuid", kind, number)
}

// bytesOf is idOf in the form in which rows are copied.
func bytesOf(kind string, number int) [16]byte {
	id := uuid.MustParse(kind + "000000000000")
	var low [8]byte
	binary.BigEndian.PutUint64(low[:], uint64(number))
	copy(id[10:], low[2:])
	return id
}

const (
	userCount       = 16 // who talk; many, few and the agent are after them
	messagesPerTalk = 100
	answeredCount   = idleCount // one for each silent socket
	deepMessages    = 5100
	manyTalks       = 5000
	fewTalks        = 20
	monthRecords    = 37_000
	fewRecords      = 20
	exportRecords   = 100_000
	recordsPerTalk  = 100
)

// data is what was put into the database.
type data struct {
	organization     uuid.UUID
	bot, inbox       uuid.UUID
	keys             []string // of the users who talk
	many, few, agent string   // keys
	silent           int      // how many conversations the bot does not answer
	recorded         int      // how many chatbots had records put in
}

// seeds say how much there is to be in all.
type seeds struct{ messages, records int }

// seed fills the database, or goes on filling it, while no server runs on it; then it
// starts the server again and waits until all indexes are built. Where it goes on, the
// busiest chatbot is a new one: what is counted already stays as it is.
func (b *bench) seed(ctx context.Context, to seeds) error {
	if err := b.makeBots(ctx); err != nil {
		return fmt.Errorf("chatbots: %w", err)
	}
	stopping := b.server
	b.server = nil
	if err := stopping.Stop(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.url())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	b.say("put in %d messages", to.messages)
	indexes, err := dropSearchIndexes(ctx, conn)
	if err != nil {
		return err
	}
	if b.keys == nil {
		if err := b.seedPeople(ctx, conn); err != nil {
			return err
		}
		if err := b.seedLists(ctx, conn); err != nil {
			return err
		}
	}
	if err := b.seedTalks(ctx, conn, to.messages/messagesPerTalk); err != nil {
		return err
	}
	if to.records > 0 {
		b.say("put in records, up to %d of a chatbot", to.records)
		if err := b.seedAllRecords(ctx, conn, to.records); err != nil {
			return fmt.Errorf("records: %w", err)
		}
	}
	b.say("build the indexes")
	for _, definition := range indexes {
		if _, err := conn.Exec(ctx, definition); err != nil {
			return fmt.Errorf("build an index again: %w", err)
		}
	}
	if b.server, err = b.startServer(ctx); err != nil {
		return err
	}
	if err := awaitCalm(ctx, conn); err != nil {
		return err
	}
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// makeBots makes the chatbots that have records, through the API.
func (b *bench) makeBots(ctx context.Context) error {
	for name, into := range map[string]*string{"few": &b.bots.few, "month": &b.bots.month, "hundred": &b.bots.hundred, "all": &b.bots.all} {
		if b.keys != nil && name != "all" {
			continue
		}
		var made struct{ ID string }
		body := map[string]any{"name": name, "engine": "faq"}
		if err := harness.Call(ctx, http.MethodPost, b.server.Base+"/api/chatbots/", b.admin, body, &made); err != nil {
			return err
		}
		*into = made.ID
	}
	return nil
}

// seedPeople makes users, each with a key and a contact.
func (b *bench) seedPeople(ctx context.Context, conn *pgx.Conn) error {
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
			{"INSERT INTO users (organization_id, id, name) VALUES ($1, $2, $3)", []any{b.organization, idOf(users, n), name}},
			{"INSERT INTO contacts (organization_id, id, user_id, name) VALUES ($1, $2, $3, $4)", []any{b.organization, idOf(contacts, n), idOf(users, n), name}},
			{
				`INSERT INTO api_keys (organization_id, id, user_id, name, prefix, secret_hash, scopes) VALUES ($1, $2, $3, 'bench', $4, $5, $6)`,
				[]any{b.organization, idOf(keys, n), idOf(users, n), prefix, hash[:], []string{scope}},
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

// talks are sessions to be made, whose numbers go from first up to before end. Those
// that have messages have some each, and the last one of each is as old as ageOf says.
type talks struct {
	kind       string
	first, end int
	bot, inbox uuid.UUID
	owner      int // the number of their user; everyone: those who talk take turns
	messages   int
	isAnswered bool
}

// everyone owns the sessions of those who talk.
const everyone = -1

// ownerOf is whose session n is.
func (t talks) ownerOf(n int) int {
	if t.owner == everyone {
		return n % userCount
	}
	return t.owner
}

// age is how many minutes ago session n had its last message, in SQL and below in Go:
// within ten months, and not in the order of the numbers.
const age = "(60 + n::bigint * 7919 % 432000)"

func ageOf(n int) time.Duration { return time.Duration(60+n*7919%432_000) * time.Minute }

// gap is the time between two messages of a session.
const gap = 30 * time.Second

// seedSessions puts sessions in with all triggers on, since some may keep counts.
func (b *bench) seedSessions(ctx context.Context, conn *pgx.Conn, t talks) error {
	owner := strconv.Itoa(t.owner)
	if t.owner == everyone {
		owner = "n % " + strconv.Itoa(userCount)
	}
	_, err := conn.Exec(ctx, `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, auto_reply, last_seq, last_activity, created_at)
		SELECT $1, `+sqlID(t.kind, "n")+`, `+sqlID(users, owner)+`, $2, $3, `+sqlID(contacts, owner)+`, $4, $5::bigint,
		       $6::timestamptz - interval '1 minute' * `+age+`, $6::timestamptz - interval '1 minute' * `+age+` - interval '30 seconds' * $5::bigint
		FROM generate_series($7::integer, $8::integer - 1) n`,
		b.organization, t.bot, t.inbox, t.isAnswered, t.messages, now, t.first, t.end)
	if err != nil {
		return fmt.Errorf("conversations: %w", err)
	}
	return nil
}

// now is the moment from which all ages count, to the microsecond.
var now = time.Now().Truncate(time.Microsecond)

// seedLists makes the conversations of the users many and few, the deep one, which is
// the agent's, and those that the bot answers.
func (b *bench) seedLists(ctx context.Context, conn *pgx.Conn) error {
	all := []talks{
		{kind: listedTalks, end: manyTalks, owner: userCount, messages: 1},
		{kind: listedTalks, first: manyTalks, end: manyTalks + fewTalks, owner: userCount + 1, messages: 1},
		{kind: deepTalks, end: 1, owner: userCount + 2, messages: deepMessages},
		{kind: answeredTalks, end: answeredCount, owner: everyone, isAnswered: true},
	}
	for _, t := range all {
		t.bot, t.inbox = b.bot, b.inbox
		if err := b.seedSessions(ctx, conn, t); err != nil {
			return err
		}
		if err := b.seedMessages(ctx, conn, t); err != nil {
			return err
		}
	}
	return nil
}

// seedTalks goes on to so many conversations that the bot does not answer.
func (b *bench) seedTalks(ctx context.Context, conn *pgx.Conn, to int) error {
	const block = 2000
	for first := b.silent; first < to; first += block {
		t := talks{
			kind: silentTalks, first: first, end: min(first+block, to), owner: everyone, messages: messagesPerTalk, bot: b.bot, inbox: b.inbox,
		}
		if err := b.seedSessions(ctx, conn, t); err != nil {
			return err
		}
		if err := b.seedMessages(ctx, conn, t); err != nil {
			return err
		}
	}
	b.silent = to
	return nil
}
