package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// seedMessages puts the messages of sessions in.
func (b *bench) seedMessages(ctx context.Context, conn *pgx.Conn, t talks) error {
	if t.messages == 0 {
		return nil
	}
	// What follows is consistent; checking it row by row takes longer than the rows.
	if _, err := conn.Exec(ctx, "SET session_replication_role = replica"); err != nil {
		return err
	}
	next := t.first * t.messages
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"message_history"},
		[]string{"organization_id", "id", "session_id", "seq", "sender", "sender_id", "content", "created_at"},
		pgx.CopyFromFunc(func() ([]any, error) {
			n, seq := next/t.messages, next%t.messages+1
			if n == t.end {
				return nil, nil
			}
			next++
			sender, senderID := "bot", [16]byte(t.bot)
			if seq%2 == 1 {
				sender, senderID = "user", bytesOf(contacts, t.ownerOf(n))
			}
			at := now.Add(-ageOf(n) - time.Duration(t.messages-seq)*gap)
			return []any{
				[16]byte(b.organization), messageID(t.kind, n, seq), bytesOf(t.kind, n), int64(seq), sender, senderID,
				said(n*messagesPerTalk + seq), at,
			}, nil
		}))
	if err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	_, err = conn.Exec(ctx, "SET session_replication_role = origin")
	return err
}

// messageID has the digit of the kind of session before its number.
func messageID(kind string, n, seq int) [16]byte {
	return bytesOf(messages, int(kind[len(kind)-2])<<40|n<<14|seq)
}

// bots are the chatbots with records, by their ids.
type bots struct{ few, month, hundred, all string }

// hundredBase is where the numbers of the records begin of which row 7 makes a sheet.
const hundredBase = 0

// seedAllRecords gives the chatbots their records, the busiest one so many.
func (b *bench) seedAllRecords(ctx context.Context, conn *pgx.Conn, to int) error {
	kinds := []struct {
		bot   string
		count int
	}{{b.bots.hundred, exportRecords}, {b.bots.few, fewRecords}, {b.bots.month, monthRecords}}
	if b.recorded > 0 {
		kinds = nil
	}
	for _, one := range append(kinds, struct {
		bot   string
		count int
	}{b.bots.all, to}) {
		// Each chatbot's records have numbers of their own.
		if err := b.seedRecords(ctx, conn, one.bot, hundredBase+b.recorded*10_000_000, one.count); err != nil {
			return err
		}
		b.recorded++
	}
	return nil
}

// seedRecords gives a chatbot so many records, whose numbers begin at base. They keep
// their triggers too.
func (b *bench) seedRecords(ctx context.Context, conn *pgx.Conn, bot string, base, count int) error {
	const block = 20_000
	botID, err := uuid.Parse(bot)
	if err != nil {
		return err
	}
	inbox := uuid.Nil
	if err := conn.QueryRow(ctx, "SELECT id FROM inboxes WHERE organization_id = $1 AND bot_id = $2 AND channel_type = 'api'", b.organization, botID).Scan(&inbox); err != nil {
		return fmt.Errorf("find the inbox: %w", err)
	}
	err = b.seedSessions(ctx, conn, talks{
		kind: recordTalks, first: base / recordsPerTalk, end: (base + count + recordsPerTalk - 1) / recordsPerTalk,
		bot: botID, inbox: inbox, owner: userCount + 2,
	})
	for first := 0; first < count && err == nil; first += block {
		next, last := first, min(first+block, count)
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"records"}, recordColumns, pgx.CopyFromFunc(func() ([]any, error) {
			if next == last {
				return nil, nil
			}
			r := recordOf(base + next)
			next++
			return []any{
				[16]byte(b.organization), [16]byte(r.id), [16]byte(botID), bytesOf(recordTalks, (base+next-1)/recordsPerTalk), "completed",
				r.kind, r.question, r.answer, r.context, r.score, r.score, r.seconds, r.at.Add(-time.Second), r.at,
			}, nil
		}))
	}
	return err
}

var recordColumns = []string{
	"organization_id", "id", "bot_id", "session_id", "status",
	"type", "input_message", "output_message", "context", "faithfulness_score", "answer_relevancy_score", "reply_time", "asked_at", "created_at",
}

// record is one of those that were put in, as an export tells it.
type record struct {
	id                              uuid.UUID
	kind, question, answer, context string
	score                           *float64 // one in four has some
	seconds                         float64
	at                              time.Time
}

func recordOf(number int) record {
	r := record{
		id: bytesOf(recordIDs, number), kind: "Follow", question: said(2 * number), answer: said(3*number) + "\n" + said(3*number+1),
		seconds: float64(number%700)/100 + 0.25,
		// Over a month, not in the order of the numbers.
		at: now.Add(-time.Hour - time.Duration(number*7919%2_500_000)*time.Second),
	}
	if number%recordsPerTalk == 0 {
		r.kind = "New"
	}
	if number%4 == 0 {
		score := float64(number%100) / 100
		r.score, r.context = &score, said(5*number)
	}
	return r
}

// recordsPath is the list of a chatbot's records, or what suffix names below it, with
// the days of all that were put in.
func (b *bench) recordsPath(bot, suffix string) string {
	return fmt.Sprintf("/api/chatbots/%s/records/%s?startDate=%s&endDate=%s", bot, suffix,
		now.Add(-32*24*time.Hour).UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly))
}
