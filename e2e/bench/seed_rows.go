package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// seedMessages inserts the messages of conversations.
func (b *bench) seedMessages(ctx context.Context, conn *pgx.Conn, c conversations) error {
	if c.messages == 0 {
		return nil
	}
	// The rows are consistent. Checking foreign keys for each row would take longer than inserting.
	if _, err := conn.Exec(ctx, "SET session_replication_role = replica"); err != nil {
		return err
	}
	next := c.first * c.messages
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"message_history"},
		[]string{"organization_id", "id", "session_id", "seq", "sender", "sender_id", "content", "created_at"},
		pgx.CopyFromFunc(func() ([]any, error) {
			n, seq := next/c.messages, next%c.messages+1
			if n == c.end {
				return nil, nil
			}
			next++
			sender, senderID := "bot", [16]byte(c.bot)
			if seq%2 == 1 {
				sender, senderID = "user", bytesOf(contactIDs, c.ownerOf(n))
			}
			at := now.Add(-ageOf(n) - time.Duration(c.messages-seq)*messageInterval)
			return []any{
				[16]byte(b.organization), messageID(c.prefix, n, seq), bytesOf(c.prefix, n), int64(seq), sender, senderID,
				textOf(n*messagesPerConversation + seq), at,
			}, nil
		}))
	if err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	_, err = conn.Exec(ctx, "SET session_replication_role = origin")
	return err
}

// messageID returns an id that is unique among all prefixes of conversations: it contains the last
// digit of the prefix.
func messageID(prefix string, n, seq int) [16]byte {
	return bytesOf(messageIDs, int(prefix[len(prefix)-2])<<40|n<<14|seq)
}

// bots are the ids of the chatbots with records.
type bots struct{ few, month, hundred, all string }

// hundredBase is the first number of the records that row 7 writes to a sheet.
const hundredBase = 0

// seedAllRecords creates the records of the chatbots; the busiest one gets the given number.
func (b *bench) seedAllRecords(ctx context.Context, conn *pgx.Conn, busiest int) error {
	type botRecords struct {
		bot   string
		count int
	}
	all := []botRecords{{b.bots.hundred, exportRecords}, {b.bots.few, fewRecords}, {b.bots.month, monthRecords}}
	if b.recordedBots > 0 {
		all = nil // these chatbots have records already
	}
	for _, r := range append(all, botRecords{b.bots.all, busiest}) {
		// The records of each chatbot have a range of numbers.
		if err := b.seedRecords(ctx, conn, r.bot, hundredBase+b.recordedBots*10_000_000, r.count); err != nil {
			return err
		}
		b.recordedBots++
	}
	return nil
}

// seedRecords creates records of a chatbot, with the numbers from base. Triggers stay on.
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
	err = b.seedConversations(ctx, conn, conversations{
		prefix: recordedIDs, first: base / recordsPerConversation, end: (base + count + recordsPerConversation - 1) / recordsPerConversation,
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
				[16]byte(b.organization), [16]byte(r.id), [16]byte(botID), bytesOf(recordedIDs, (base+next-1)/recordsPerConversation), "completed",
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

// record is a seeded record, with the fields of an export.
type record struct {
	id                              uuid.UUID
	kind, question, answer, context string
	score                           *float64 // set for one record in four
	seconds                         float64
	at                              time.Time
}

// recordOf returns the record with a number.
func recordOf(number int) record {
	r := record{
		id: bytesOf(recordIDs, number), kind: "Follow", question: textOf(2 * number), answer: textOf(3*number) + "\n" + textOf(3*number+1),
		seconds: float64(number%700)/100 + 0.25,
		// Spread over a month, not in the order of the numbers.
		at: now.Add(-time.Hour - time.Duration(number*7919%2_500_000)*time.Second),
	}
	if number%recordsPerConversation == 0 {
		r.kind = "New"
	}
	if number%4 == 0 {
		score := float64(number%100) / 100
		r.score, r.context = &score, textOf(5*number)
	}
	return r
}

// recordsPath returns the path of a chatbot's records, or of the suffix below it, for the days of
// all seeded records.
func (b *bench) recordsPath(bot, suffix string) string {
	return fmt.Sprintf("/api/chatbots/%s/records/%s?startDate=%s&endDate=%s", bot, suffix,
		now.Add(-32*24*time.Hour).UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly))
}
