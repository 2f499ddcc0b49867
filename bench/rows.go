package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

// measurements are all that was measured so far.
type measurements struct {
	*stack
	options
	pgbench pgbench
	scripts struct {
		send    []string // one for each of the contents
		history string
	}
	rounds int // begun so far, the one that does not count among them

	pgbenchSend, send         series // row 1
	exchange                  series // row 1b
	referenceAlone, sendAlone series // row 2
	pgbenchHistory, history   series // row 4
	delivery, bareWrite       series // row 9
	socket                    memory // row 10, of one
	frame                     []byte // what a delivery has last brought
}

// sample is one thing measured once.
type sample struct {
	rate             float64 // operations a second
	p50              time.Duration
	server, postgres float64 // CPU µs an operation
}

type series []sample

// prepare writes the scripts of pgbench.
func (m *measurements) prepare(ctx context.Context) (err error) {
	if m.pgbench, err = newPgbench(m.stack, m.connections); err != nil {
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
	choice := fmt.Sprintf("\\set talk random(0, %d)\n\\set member mod(:talk, %d)\n\\set n :n + 1\n", m.silent-1, userCount)
	// The ids of messages grow with time, as those of the product do, and the clients
	// keep out of each other's way.
	const number = "(:n::bigint * 1000 + :client_id::bigint)"
	const empty = "replace(:nothing::text, '" + nothing + "', '')"
	for i := range contents {
		script, err := send.script(ctx, m.url(), map[string]string{
			"OrganizationID": ":organization::text",
			"SessionID":      sqlID(conversations, ":talk::bigint"),
			"UserID":         sqlID(users, ":member::bigint"),
			"IsStaff":        ":staff::text",
			"Sender":         empty,
			"Reply":          ":reply::text",
			"QueueLimit":     ":queue::text",
			"Scope":          empty,
			"MessageID":      "(:prefix || lpad(to_hex(" + number + "), 12, '0'))",
			"RunID":          "(:prefix || lpad(to_hex(" + number + "), 12, '0'))",
			"ReplyID":        "(:prefix || lpad(to_hex(" + number + "), 12, '0'))",
			"LeaseSeconds":   ":lease::text",
			"Content":        ":content" + strconv.Itoa(i) + "::text",
		})
		if err != nil {
			return fmt.Errorf("SendMessage for pgbench: %w", err)
		}
		path, err := writeScript(m.stack.dir, "send"+strconv.Itoa(i), choice, script)
		if err != nil {
			return err
		}
		m.scripts.send = append(m.scripts.send, path)
	}
	script, err := history.script(ctx, m.url(), map[string]string{
		"OrganizationID": ":organization::text",
		"SessionID":      sqlID(conversations, ":talk::bigint"),
		"AfterSeq":       ":after::text",
		"BeforeSeq":      ":before::text",
		"PageLimit":      ":limit::text",
	})
	if err != nil {
		return fmt.Errorf("ListHistoryBackward for pgbench: %w", err)
	}
	m.scripts.history, err = writeScript(m.stack.dir, "history", choice, script)
	return err
}

// round measures everything once, the two that are compared one after the other.
func (m *measurements) round(ctx context.Context, seconds int) error {
	m.rounds++
	everyone := job{Connections: m.connections, First: 0, Count: m.silent}
	alone := job{Kind: sendMessage, Connections: 1, First: 0, Count: m.silent}
	of := func(j job, kind kind) job { j.Kind = kind; return j }
	answered := of(everyone, createCompletion)
	answered.First = m.silent
	steps := []struct {
		what    string
		into    *series
		measure func() (sample, error)
	}{
		{"SendMessage in pgbench", &m.pgbenchSend, func() (sample, error) { return m.inPgbench(ctx, seconds, m.scripts.send...) }},
		{"POST message", &m.send, func() (sample, error) { return m.overHTTP(ctx, m.server, seconds, of(everyone, sendMessage)) }},
		{"a whole exchange", &m.exchange, func() (sample, error) { return m.overHTTP(ctx, m.server, seconds, answered) }},
		{"the reference", &m.referenceAlone, func() (sample, error) { return m.overHTTP(ctx, m.bare, seconds, alone) }},
		{"POST message, alone", &m.sendAlone, func() (sample, error) { return m.overHTTP(ctx, m.server, seconds, alone) }},
		{"the history in pgbench", &m.pgbenchHistory, func() (sample, error) { return m.inPgbench(ctx, seconds, m.scripts.history) }},
		{"GET history", &m.history, func() (sample, error) { return m.overHTTP(ctx, m.server, seconds, of(everyone, getHistory)) }},
		{"a fan-out", &m.delivery, func() (sample, error) { return m.fanOut(ctx, m.server, seconds) }},
		{"bare writes", &m.bareWrite, func() (sample, error) { return m.fanOut(ctx, m.bare, seconds) }},
	}
	for _, step := range steps {
		measured, err := step.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		*step.into = append(*step.into, measured)
	}
	return nil
}

// forget forgets what was measured to warm up.
func (m *measurements) forget() {
	for _, one := range []*series{&m.pgbenchSend, &m.send, &m.exchange, &m.referenceAlone, &m.sendAlone, &m.pgbenchHistory, &m.history, &m.delivery, &m.bareWrite} {
		*one = nil
	}
}

func (m *measurements) inPgbench(ctx context.Context, seconds int, scripts ...string) (sample, error) {
	variables := map[string]string{
		"organization": m.organization.String(), "n": "0", "prefix": fmt.Sprintf("0190%04x-0000-7000-8000-", m.rounds),
		"staff": "false", "reply": "auto", "queue": "20", "lease": "20",
		"after": "0", "before": strconv.Itoa(math.MaxInt64), "limit": "51",
	}
	for i, content := range contents {
		variables["content"+strconv.Itoa(i)] = content
	}
	var before, after cost
	begin := func() (err error) { before, err = m.used(nil); return err }
	end := func() (err error) { after, err = m.used(nil); return err }
	rate, err := m.pgbench.run(ctx, seconds, variables, scripts, begin, end)
	used := (after.postgres - before.postgres).Microseconds()
	return sample{rate: rate, postgres: float64(used) / (rate * float64(seconds))}, err
}

func (m *measurements) overHTTP(ctx context.Context, server *child, seconds int, j job) (sample, error) {
	j.Base, j.Keys, j.Duration, j.Seed = server.base, m.keys, time.Duration(seconds)*time.Second, uint64(m.rounds)
	var f found
	used, err := m.cost(server, func() (err error) {
		f, err = load(ctx, j)
		return err
	})
	if err != nil {
		return sample{}, err
	}
	return sample{
		rate: f.rate(), p50: f.P50,
		server: perOperation(used.server, f.Requests), postgres: perOperation(used.postgres, f.Requests),
	}, nil
}

func perOperation(used time.Duration, count int) float64 {
	return float64(used.Microseconds()) / float64(max(1, count))
}
