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

// What the plots go over.
var (
	plotSizes       = []int{10_000, 100_000, 1_000_000, 5_000_000}
	plotConnections = []int{1, 10, 32, 100, 316, 1000}
)

const (
	plotSeconds = 2
	// plotRecords is how many messages there are for each record of the chatbot that
	// is measured.
	plotRecords = 10
)

// operation is what a plot follows while the data grows.
type operation struct {
	name string
	load func() job
}

func (b *bench) operations() []operation {
	get := func(key, path string) func() job {
		return func() job {
			j := getting(key, path)
			j.MayFail = true
			return j
		}
	}
	return []operation{
		{"send", func() job { return b.talking(sendMessage, 1) }},
		{"history page", func() job { return b.talking(getHistory, 1) }},
		{"conversation list", get(b.keys[0], "/api/conversations?limit=20")},
		{"records page with total", get(b.admin, b.recordsPath(b.bots.all, "")+"&pageSize=20&page=1")},
		{"keyword search", get(b.agent, "/api/conversations/?pageSize=20&keyword="+url.QueryEscape(rareWord))},
	}
}

// point is what was measured of an operation at a size.
type point struct {
	size   int
	sample sample
}

// measurePlots measures cost against size, in one database that grows, then against
// connections.
func measurePlots(ctx context.Context, o options) (_ report, err error) {
	b, err := begin(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	var machine string
	var names []string
	bySize := map[string][]point{}
	for _, size := range plotSizes {
		if size > o.largest {
			break
		}
		if err := b.seed(ctx, seeds{messages: size, records: size / plotRecords}); err != nil {
			return report{}, fmt.Errorf("put the data in: %w", err)
		}
		for _, one := range b.operations() {
			b.say("%d messages: %s", size, one.name)
			measured, err := b.warmed(ctx, one.load())
			if err != nil {
				return report{}, fmt.Errorf("%s: %w", one.name, err)
			}
			if !slices.Contains(names, one.name) {
				names = append(names, one.name)
			}
			bySize[one.name] = append(bySize[one.name], point{size, measured})
		}
	}
	if machine, err = b.machine(ctx); err != nil {
		return report{}, err
	}
	if err := allowFiles(openFiles); err != nil {
		return report{}, err
	}
	var byConnections []point
	for _, count := range plotConnections {
		b.say("%d connections", count)
		measured, err := b.warmed(ctx, b.talking(sendMessage, count))
		if err != nil {
			return report{}, fmt.Errorf("%d connections: %w", count, err)
		}
		byConnections = append(byConnections, point{count, measured})
	}
	return report{
		text:     sizesTable(names, bySize).Text() + "\n" + connectionsTable(byConnections).Text(),
		markdown: machine + ".\n\n" + sizesMarkdown(names, bySize) + "\n" + connectionsMarkdown(byConnections),
	}, nil
}

// warmed measures a load after a second of it.
func (b *bench) warmed(ctx context.Context, j job) (sample, error) {
	b.round++
	if _, err := b.overHTTP(ctx, b.server, 1, j); err != nil {
		return sample{}, err
	}
	return b.overHTTP(ctx, b.server, plotSeconds, j)
}

func sizesTable(names []string, points map[string][]point) harness.Table {
	g := harness.Table{{"one connection", "messages", "p50", "p99", "CPU µs: server", "PostgreSQL"}}
	for _, name := range names {
		for _, p := range points[name] {
			if p.sample.requests == 0 {
				g = append(g, []string{name, strconv.Itoa(p.size), "no answer: " + p.sample.note, "", "", ""})
				continue
			}
			g = append(g, []string{name, strconv.Itoa(p.size), p50(p.sample), p99(p.sample), figure(p.sample.server), figure(p.sample.postgres)})
		}
	}
	return g
}

func connectionsTable(points []point) harness.Table {
	g := harness.Table{{"connections that send", "rate", "p50", "p99", "CPU µs: server", "PostgreSQL"}}
	for _, p := range points {
		g = append(g, []string{strconv.Itoa(p.size), rate(p.sample), p50(p.sample), p99(p.sample), figure(p.sample.server), figure(p.sample.postgres)})
	}
	return g
}

func sizesMarkdown(names []string, points map[string][]point) string {
	var text strings.Builder
	text.WriteString("#### Cost against size\n\n" + sizesTable(names, points).Markdown())
	for _, name := range names {
		text.WriteString("\n" + chart(name+": CPU of server and PostgreSQL against messages", "messages", "µs an operation", points[name],
			func(s sample) float64 { return s.server + s.postgres }))
		text.WriteString("\n" + chart(name+": p50 against messages", "messages", "µs", points[name],
			func(s sample) float64 { return float64(s.p50.Microseconds()) }))
	}
	return text.String()
}

func connectionsMarkdown(points []point) string {
	return "#### Sending, against connections\n\n" + connectionsTable(points).Markdown() +
		"\n" + chart("messages a second against connections", "connections", "messages a second", points, func(s sample) float64 { return s.rate }) +
		"\n" + chart("p50 and p99 of a message against connections", "connections", "ms", points,
		func(s sample) float64 { return s.p50.Seconds() * 1000 }, func(s sample) float64 { return s.p99.Seconds() * 1000 })
}

// chart is a diagram for a page; its points stand at equal distances.
func chart(title, across, up string, points []point, figures ...func(sample) float64) string {
	points = slices.DeleteFunc(slices.Clone(points), func(p point) bool { return p.sample.requests == 0 }) // there was no answer
	var text strings.Builder
	heads := make([]string, len(points))
	for i, p := range points {
		heads[i] = strconv.Quote(short(p.size))
	}
	fmt.Fprintf(&text, "```mermaid\nxychart-beta\n    title %q\n    x-axis %q [%s]\n    y-axis %q\n", title, across, strings.Join(heads, ", "), up)
	for _, of := range figures {
		values := make([]string, len(points))
		for i, p := range points {
			values[i] = figure(of(p.sample))
		}
		fmt.Fprintf(&text, "    line [%s]\n", strings.Join(values, ", "))
	}
	text.WriteString("```\n")
	return text.String()
}

func short(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + " M"
	case n >= 10_000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + " k"
	}
	return strconv.Itoa(n)
}
