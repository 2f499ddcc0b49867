package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
)

// sends is row 1.
func (b *bench) sends() row {
	return row{
		number: "1", prepare: b.writeScripts,
		lines: []line{{
			what: fmt.Sprintf("POST message, %d connections: rate / pgbench's with the same statement", b.connections),
			must: atLeast(0.7), aim: atLeast(1), shows: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			limit, err := b.inPgbench(ctx, seconds, b.scripts.send...)
			if err != nil {
				return nil, fmt.Errorf("SendMessage in pgbench: %w", err)
			}
			ours, err := b.sendsOverHTTP(ctx, seconds)
			return []finding{{ours.rate / limit.rate, ours, limit}}, err
		},
	}
}

func (b *bench) sendsOverHTTP(ctx context.Context, seconds int) (sample, error) {
	return b.once("POST message", func() (sample, error) {
		return b.overHTTP(ctx, b.server, seconds, b.talking(sendMessage, b.connections))
	})
}

// talking is a load on the conversations that the bot does not answer.
func (b *bench) talking(kind kind, connections int) job {
	return job{Kind: kind, Connections: connections, IDs: silentTalks, Count: b.silent}
}

// exchanges is row 1b.
func (b *bench) exchanges() row {
	return row{
		number: "1b",
		lines: []line{{
			what: fmt.Sprintf("a whole exchange with the built-in bot, %d connections: CPU / twice that of row 1", b.connections),
			must: atMost(2.5), aim: atMost(1.5), shows: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			sent, err := b.sendsOverHTTP(ctx, seconds)
			if err != nil {
				return nil, err
			}
			ours, err := b.overHTTP(ctx, b.server, seconds, job{
				Kind: createCompletion, Connections: b.connections, IDs: answeredTalks, Count: answeredCount,
			})
			return []finding{{(ours.server + ours.postgres) / (sent.server + sent.postgres) / 2, ours, sent}}, err
		},
	}
}

// sendsAlone is row 2.
func (b *bench) sendsAlone() row {
	return row{
		number: "2",
		lines: []line{{
			what: "POST message, 1 connection: p50 / the bare reference's",
			must: atMost(1.3), aim: atMost(1.1), shows: p50,
		}},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			bare, err := b.overHTTP(ctx, b.bare, seconds, b.talking(sendMessage, 1))
			if err != nil {
				return nil, fmt.Errorf("the reference: %w", err)
			}
			ours, err := b.overHTTP(ctx, b.server, seconds, b.talking(sendMessage, 1))
			return []finding{{float64(ours.p50) / float64(bare.p50), ours, bare}}, err
		},
	}
}

// writeScripts writes the scripts of pgbench.
func (b *bench) writeScripts(ctx context.Context) (err error) {
	if b.scripts.history != "" {
		return nil
	}
	if b.pgbench, err = newPgbench(b.stack, b.connections); err != nil {
		return err
	}
	send, err := readStatement("sendMessage", "SendMessageParams")
	if err != nil {
		return err
	}
	history, err := readStatement("listHistoryBackward", "ListHistoryBackwardParams")
	if err != nil {
		return err
	}
	choice := fmt.Sprintf("\\set talk random(0, %d)\n\\set member mod(:talk, %d)\n\\set n :n + 1\n", b.silent-1, userCount)
	// The ids of messages grow with time, as those of the product do, and the clients
	// keep out of each other's way.
	const number = "(:n::bigint * 1000 + :client_id::bigint)"
	const empty = "replace(:nothing::text, '" + nothing + "', '')"
	const id = "(:prefix || lpad(to_hex(" + number + "), 12, '0'))"
	for i := range texts {
		script, err := send.script(ctx, b.url(), map[string]string{
			"OrganizationID": ":organization::text",
			"SessionID":      sqlID(silentTalks, ":talk::bigint"),
			"UserID":         sqlID(users, ":member::bigint"),
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
			return fmt.Errorf("SendMessage for pgbench: %w", err)
		}
		path, err := writeScript(b.dir, "send"+strconv.Itoa(i), choice, script)
		if err != nil {
			return err
		}
		b.scripts.send = append(b.scripts.send, path)
	}
	script, err := history.script(ctx, b.url(), map[string]string{
		"OrganizationID": ":organization::text",
		"SessionID":      sqlID(silentTalks, ":talk::bigint"),
		"AfterSeq":       ":after::text",
		"BeforeSeq":      ":before::text",
		"PageLimit":      ":limit::text",
	})
	if err != nil {
		return fmt.Errorf("ListHistoryBackward for pgbench: %w", err)
	}
	b.scripts.history, err = writeScript(b.dir, "history", choice, script)
	return err
}

func (b *bench) inPgbench(ctx context.Context, seconds int, scripts ...string) (sample, error) {
	variables := map[string]string{
		"organization": b.organization.String(), "n": "0", "prefix": fmt.Sprintf("0190%04x-0000-7000-8000-", b.round),
		"staff": "false", "reply": "auto", "queue": "20", "lease": "20",
		"after": "0", "before": strconv.Itoa(math.MaxInt64), "limit": "51",
	}
	for i, text := range texts {
		variables["text"+strconv.Itoa(i)] = text
	}
	var before, after cost
	begin := func() (err error) { before, err = b.used(nil); return err }
	end := func() (err error) { after, err = b.used(nil); return err }
	rate, err := b.pgbench.run(ctx, seconds, variables, scripts, begin, end)
	used := (after.postgres - before.postgres).Microseconds()
	return sample{rate: rate, postgres: float64(used) / (rate * float64(seconds))}, err
}
