package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"parley/e2e/harness"
)

// The x-axes of the plots.
var (
	plotSizes       = []int{10_000, 100_000, 1_000_000, 5_000_000}
	plotConnections = []int{1, 10, 32, 100, 316, 1000}
)

const (
	plotSeconds = 2
	// messagesPerRecord is how many messages there are for each record of the measured chatbot.
	messagesPerRecord = 10
)

// operation is an operation whose cost is plotted against the size of the data.
type operation struct {
	name string
	job  func() loadJob
}

func (b *bench) operations() []operation {
	getJob := func(key, path string) func() loadJob {
		return func() loadJob {
			job := getOne(key, path)
			job.MayFail = true
			return job
		}
	}
	return []operation{
		{"send", func() loadJob { return b.onUnanswered(sendMessage, 1) }},
		{"history page", func() loadJob { return b.onUnanswered(getHistory, 1) }},
		{"conversation list", getJob(b.keys[0], "/api/conversations?limit=20")},
		{"records page with total", getJob(b.admin, b.recordsPath(b.bots.all, "")+"&pageSize=20&page=1")},
		{"keyword search", getJob(b.agent, "/api/conversations/?pageSize=20&keyword="+url.QueryEscape(rareWord))},
	}
}

// point is a measurement at a size or a number of connections.
type point struct {
	x      int
	sample sample
}

// measurePlots measures cost by size, in one growing database, then cost by connections.
func measurePlots(ctx context.Context, o options) (_ report, err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	names, bySize, err := b.measureSizes(ctx)
	if err != nil {
		return report{}, err
	}
	machine, err := b.machine(ctx)
	if err != nil {
		return report{}, err
	}
	byConnections, err := b.measureConnections(ctx)
	if err != nil {
		return report{}, err
	}
	return report{
		text:     sizesTable(names, bySize).Text() + "\n" + connectionsTable(byConnections).Text(),
		markdown: machine + ".\n\n" + sizesMarkdown(names, bySize) + "\n" + connectionsMarkdown(byConnections),
	}, nil
}

// measureSizes measures each operation at each size, and returns the operations' names in order.
func (b *bench) measureSizes(ctx context.Context) (names []string, bySize map[string][]point, err error) {
	bySize = map[string][]point{}
	for _, size := range plotSizes {
		if size > b.largest {
			break
		}
		if err := b.seed(ctx, dataSize{messages: size, records: size / messagesPerRecord}); err != nil {
			return nil, nil, fmt.Errorf("seed the database: %w", err)
		}
		for _, op := range b.operations() {
			b.logf("%d messages: %s", size, op.name)
			s, err := b.measureWarm(ctx, op.job())
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", op.name, err)
			}
			if !slices.Contains(names, op.name) {
				names = append(names, op.name)
			}
			bySize[op.name] = append(bySize[op.name], point{size, s})
		}
	}
	return names, bySize, nil
}

// measureConnections measures sending over an increasing number of connections.
func (b *bench) measureConnections(ctx context.Context) (points []point, err error) {
	if err := allowFiles(openFiles); err != nil {
		return nil, err
	}
	for _, count := range plotConnections {
		b.logf("%d connections", count)
		s, err := b.measureWarm(ctx, b.onUnanswered(sendMessage, count))
		if err != nil {
			return nil, fmt.Errorf("%d connections: %w", count, err)
		}
		points = append(points, point{count, s})
	}
	return points, nil
}

// measureWarm measures a load after a warm-up of one second.
func (b *bench) measureWarm(ctx context.Context, job loadJob) (sample, error) {
	b.round++
	if _, err := b.measureLoad(ctx, b.server, 1, job); err != nil {
		return sample{}, err
	}
	return b.measureLoad(ctx, b.server, plotSeconds, job)
}

func sizesTable(names []string, points map[string][]point) harness.Table {
	table := harness.Table{{"one connection", "messages", "p50", "p99", "CPU µs: server", "PostgreSQL"}}
	for _, name := range names {
		for _, p := range points[name] {
			if p.sample.requests == 0 {
				table = append(table, []string{name, strconv.Itoa(p.x), "no answer: " + p.sample.note, "", "", ""})
				continue
			}
			table = append(table, []string{name, strconv.Itoa(p.x), p50(p.sample), p99(p.sample), figure(p.sample.server), figure(p.sample.postgres)})
		}
	}
	return table
}

func connectionsTable(points []point) harness.Table {
	table := harness.Table{{"connections", "rate", "p50", "p99", "CPU µs: server", "PostgreSQL"}}
	for _, p := range points {
		table = append(table, []string{strconv.Itoa(p.x), rate(p.sample), p50(p.sample), p99(p.sample), figure(p.sample.server), figure(p.sample.postgres)})
	}
	return table
}

func sizesMarkdown(names []string, points map[string][]point) string {
	var text strings.Builder
	text.WriteString("#### Cost by size\n\n" + sizesTable(names, points).Markdown())
	for _, name := range names {
		text.WriteString("\n" + chart(name+": CPU of server and PostgreSQL by messages", "messages", "µs per operation", points[name],
			func(s sample) float64 { return s.server + s.postgres }))
		text.WriteString("\n" + chart(name+": p50 by messages", "messages", "µs", points[name],
			func(s sample) float64 { return float64(s.p50.Microseconds()) }))
	}
	return text.String()
}

func connectionsMarkdown(points []point) string {
	return "#### Sending by connections\n\n" + connectionsTable(points).Markdown() +
		"\n" + chart("messages per second by connections", "connections", "messages per second", points, func(s sample) float64 { return s.rate }) +
		"\n" + chart("p50 and p99 of a message by connections", "connections", "ms", points,
		func(s sample) float64 { return s.p50.Seconds() * 1000 }, func(s sample) float64 { return s.p99.Seconds() * 1000 })
}

// chart returns a Mermaid chart with a line for each series of values. Its points are equidistant.
func chart(title, xLabel, yLabel string, points []point, values ...func(sample) float64) string {
	points = slices.DeleteFunc(slices.Clone(points), func(p point) bool { return p.sample.requests == 0 }) // points without a response
	var text strings.Builder
	labels := make([]string, len(points))
	for i, p := range points {
		labels[i] = strconv.Quote(abbreviate(p.x))
	}
	fmt.Fprintf(&text, "```mermaid\nxychart-beta\n    title %q\n    x-axis %q [%s]\n    y-axis %q\n", title, xLabel, strings.Join(labels, ", "), yLabel)
	for _, value := range values {
		figures := make([]string, len(points))
		for i, p := range points {
			figures[i] = figure(value(p.sample))
		}
		fmt.Fprintf(&text, "    line [%s]\n", strings.Join(figures, ", "))
	}
	text.WriteString("```\n")
	return text.String()
}

func abbreviate(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + " M"
	case n >= 10_000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + " k"
	}
	return strconv.Itoa(n)
}
