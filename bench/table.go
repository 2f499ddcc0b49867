package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table shows the medians of all rounds, the smallest and largest ratio beside
// them, and what must be and is aimed at (the limits are those of the project's
// performance goals, by their numbers).
func (m *measurements) table() string {
	var text, lines strings.Builder
	fmt.Fprintf(&text, "%d rounds of %d s, in turns; %d conversations of %d messages, as many empty ones, %d users; medians\n\n",
		m.options.rounds, m.seconds, m.silent, messagesPerTalk, userCount)
	fmt.Fprintln(&lines, "#\tratio\tmust\taim\tmedian\tfrom–to\tparley\tagainst\tCPU µs: server\tPostgreSQL\tagainst")
	rate := func(s sample) float64 { return s.rate }
	latency := func(s sample) float64 { return float64(s.p50) }
	row := func(number, what, must, aim string, ratios []float64, parley, against, server, postgres, other string) {
		fmt.Fprintf(&lines, "%s\t%s\t%s\t%s\t%.2f\t%.2f–%.2f\t%s\t%s\t%s\t%s\t%s\n", number, what, must, aim,
			median(ratios), slices.Min(ratios), slices.Max(ratios), parley, against, server, postgres, other)
	}
	row("1", fmt.Sprintf("POST message, %d connections: rate / pgbench's, same statement", m.connections), "≥ 0.7", "≥ 1.0",
		ratios(m.send, m.pgbenchSend, rate), m.send.rate(), m.pgbenchSend.rate(),
		m.send.micros(server), m.send.micros(postgres), m.pgbenchSend.micros(postgres))
	row("1b", fmt.Sprintf("a whole exchange with the bot, %d connections: CPU / twice that of row 1", m.connections), "≤ 2.5", "≤ 1.5",
		ratios(m.exchange, m.send, func(s sample) float64 { return s.server + s.postgres }, 2), m.exchange.rate(), "",
		m.exchange.micros(server), m.exchange.micros(postgres), "")
	row("2", "POST message, 1 connection: p50 / the bare reference's", "≤ 1.3", "≤ 1.1",
		ratios(m.sendAlone, m.referenceAlone, latency), m.sendAlone.p50(), m.referenceAlone.p50(),
		m.sendAlone.micros(server), m.sendAlone.micros(postgres), m.referenceAlone.micros(server)+" + "+m.referenceAlone.micros(postgres))
	row("4", fmt.Sprintf("GET history of 50, %d connections: rate / pgbench's, same query", m.connections), "≥ 0.3", "≥ 0.5",
		ratios(m.history, m.pgbenchHistory, rate), m.history.rate(), m.pgbenchHistory.rate(),
		m.history.micros(server), m.history.micros(postgres), m.pgbenchHistory.micros(postgres))
	row("9", fmt.Sprintf("a message to %d sockets: CPU a delivery / bare writes of the same frames", fanOutSockets), "≤ 2.0", "≤ 1.5",
		ratios(m.delivery, m.bareWrite, server), m.delivery.rate(), m.bareWrite.rate(),
		m.delivery.micros(server), m.delivery.micros(postgres), m.bareWrite.micros(server))
	row("10", fmt.Sprintf("%d idle sockets: KB of resident memory each", idleSockets), "≤ 35", "≤ 25",
		[]float64{float64(m.socket.resident) / 1000}, fmt.Sprintf("heap: %.1f KB", float64(m.socket.heap)/1000), "", "", "", "")
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = io.WriteString(rows, lines.String()) // to memory, which does not fail
	_ = rows.Flush()
	return text.String()
}

func server(s sample) float64   { return s.server }
func postgres(s sample) float64 { return s.postgres }

// ratios are those of each round; more divides them further.
func ratios(of, against series, figure func(sample) float64, more ...float64) []float64 {
	found := make([]float64, len(of))
	for i := range of {
		found[i] = figure(of[i]) / figure(against[i])
		for _, by := range more {
			found[i] /= by
		}
	}
	return found
}

func (s series) median(figure func(sample) float64) float64 {
	figures := make([]float64, len(s))
	for i, one := range s {
		figures[i] = figure(one)
	}
	return median(figures)
}

func (s series) rate() string {
	return fmt.Sprintf("%.0f/s", s.median(func(one sample) float64 { return one.rate }))
}

func (s series) p50() string {
	return time.Duration(s.median(func(one sample) float64 { return float64(one.p50) })).Round(time.Microsecond).String()
}

func (s series) micros(figure func(sample) float64) string {
	return fmt.Sprintf("%.1f", s.median(figure))
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
