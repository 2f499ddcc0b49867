package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
)

// rowSend is row 1.
func (b *bench) rowSend() row {
	return row{
		number: "1", prepare: b.writeScripts,
		lines: []line{{
			what: fmt.Sprintf("POST message, %d connections: rate / pgbench with the same statement", b.connections),
			must: atLeast(0.7), aim: atLeast(1), format: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			reference, err := b.runPgbench(ctx, seconds, b.scripts.send...)
			if err != nil {
				return nil, fmt.Errorf("SendMessage in pgbench: %w", err)
			}
			ours, err := b.measureSends(ctx, seconds)
			return []measurement{{ours.rate / reference.rate, ours, reference}}, err
		},
	}
}

func (b *bench) measureSends(ctx context.Context, seconds int) (sample, error) {
	return b.oncePerRound("POST message", func() (sample, error) {
		return b.measureLoad(ctx, b.server, seconds, b.onUnanswered(sendMessage, b.connections))
	})
}

// onUnanswered is a load on the conversations without automatic replies.
func (b *bench) onUnanswered(kind loadKind, connections int) loadJob {
	return loadJob{Kind: kind, Connections: connections, IDs: unansweredIDs, Count: b.unanswered}
}

// rowExchange is row 1b.
func (b *bench) rowExchange() row {
	return row{
		number: "1b",
		lines: []line{{
			what: fmt.Sprintf("exchange with the built-in bot, %d connections: CPU / twice that of row 1", b.connections),
			must: atMost(2.5), aim: atMost(1.5), format: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			reference, err := b.measureSends(ctx, seconds)
			if err != nil {
				return nil, err
			}
			ours, err := b.measureLoad(ctx, b.server, seconds, loadJob{
				Kind: createCompletion, Connections: b.connections, IDs: answeredIDs, Count: answeredCount,
			})
			return []measurement{{(ours.server + ours.postgres) / (reference.server + reference.postgres) / 2, ours, reference}}, err
		},
	}
}

// rowSendAlone is row 2.
func (b *bench) rowSendAlone() row {
	return row{
		number: "2",
		lines: []line{{
			what: "POST message, 1 connection: p50 / reference server",
			must: atMost(1.3), aim: atMost(1.1), format: p50,
		}},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			reference, err := b.measureLoad(ctx, b.reference, seconds, b.onUnanswered(sendMessage, 1))
			if err != nil {
				return nil, fmt.Errorf("the reference server: %w", err)
			}
			ours, err := b.measureLoad(ctx, b.server, seconds, b.onUnanswered(sendMessage, 1))
			return []measurement{{float64(ours.p50) / float64(reference.p50), ours, reference}}, err
		},
	}
}

// writeScripts writes the pgbench scripts of rows 1 and 4.
func (b *bench) writeScripts(ctx context.Context) (err error) {
	if b.scripts.history != "" {
		return nil
	}
	if b.pgbench, err = newPgbench(b.stack, b.connections); err != nil {
		return err
	}
	setup := fmt.Sprintf("\\set conversation random(0, %d)\n\\set member mod(:conversation, %d)\n\\set n :n + 1\n", b.unanswered-1, userCount)
	if err := b.writeSendScripts(ctx, setup); err != nil {
		return fmt.Errorf("SendMessage for pgbench: %w", err)
	}
	history, err := readStatement("listHistoryBackward", "ListHistoryBackwardParams")
	if err != nil {
		return err
	}
	script, err := history.script(ctx, b.url(), map[string]string{
		"OrganizationID": ":organization::text",
		"SessionID":      sqlID(unansweredIDs, ":conversation::bigint"),
		"AfterSeq":       ":after::text",
		"BeforeSeq":      ":before::text",
		"PageLimit":      ":limit::text",
	})
	if err != nil {
		return fmt.Errorf("ListHistoryBackward for pgbench: %w", err)
	}
	b.scripts.history, err = writeScript(b.dir, "history", setup, script)
	return err
}

// writeSendScripts writes a script for each of the texts.
func (b *bench) writeSendScripts(ctx context.Context, setup string) error {
	send, err := readStatement("sendMessage", "SendMessageParams")
	if err != nil {
		return err
	}
	// The ids of messages grow with time, like the product's, and are unique per client.
	const number = "(:n::bigint * 1000 + :client_id::bigint)"
	const empty = "replace(:nothing::text, '" + nullMarker + "', '')"
	const id = "(:prefix || lpad(to_hex(" + number + "), 12, '0'))"
	for i := range texts {
		script, err := send.script(ctx, b.url(), map[string]string{
			"OrganizationID": ":organization::text",
			"SessionID":      sqlID(unansweredIDs, ":conversation::bigint"),
			"UserID":         sqlID(userIDs, ":member::bigint"),
			"IsStaff":        ":staff::text",
			"Sender":         empty,
			"Reply":          ":reply::text",
			"QueueLimit":     ":queue::text",
			"CanStart":       ":staff::text",
			"Scope":          empty,
			"MessageID":      id,
			"RunID":          id,
			"ReplyID":        id,
			"LeaseSeconds":   ":lease::text",
			"Content":        "(:text" + strconv.Itoa(i) + "::text || " + number + ")",
		})
		if err != nil {
			return err
		}
		path, err := writeScript(b.dir, "send"+strconv.Itoa(i), setup, script)
		if err != nil {
			return err
		}
		b.scripts.send = append(b.scripts.send, path)
	}
	return nil
}

// runPgbench measures scripts in pgbench.
func (b *bench) runPgbench(ctx context.Context, seconds int, scripts ...string) (sample, error) {
	variables := map[string]string{
		"organization": b.organization.String(), "n": "0", "prefix": fmt.Sprintf("0190%04x-0000-7000-8000-", b.round),
		"staff": "false", "reply": "auto", "queue": "20", "lease": "20",
		"after": "0", "before": strconv.Itoa(math.MaxInt64), "limit": "51",
	}
	for i, text := range texts {
		variables["text"+strconv.Itoa(i)] = text
	}
	var before, after cpuTime
	begin := func() (err error) { before, err = b.cpuTime(nil); return err }
	end := func() (err error) { after, err = b.cpuTime(nil); return err }
	rate, err := b.pgbench.run(ctx, seconds, variables, scripts, begin, end)
	used := (after.postgres - before.postgres).Microseconds()
	return sample{rate: rate, postgres: float64(used) / (rate * float64(seconds))}, err
}
