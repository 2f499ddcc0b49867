package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"parley/e2e/harness"
)

// table returns the medians of all rounds, with the smallest and largest ratio and the limits.
func (b *bench) table(machine string, size dataSize, rows []row, results [][]series) report {
	table := harness.Table{{"#", "what", "ratio", "from–to", "must", "aim", "verdict", "Parley", "reference", "CPU µs: server", "PostgreSQL", "reference: CPU µs"}}
	for i, r := range rows {
		for k, l := range r.lines {
			if s := results[i][k]; len(s) > 0 && !math.IsNaN(s[0].ratio) {
				table = append(table, l.cells(r.number, s))
			}
		}
	}
	head := fmt.Sprintf("%s.\n%d rounds of %d s, alternating; %d messages in conversations of %d, %d records of the busiest chatbot, %d users; medians.\n",
		machine, b.rounds, b.seconds, size.messages, messagesPerConversation, size.records, userCount)
	return report{head + "\n" + table.Text(), head + "\n" + table.Markdown()}
}

// cells returns the cells of a line.
func (l line) cells(number string, s series) []string {
	ours := s.medianSample(func(m measurement) sample { return m.ours })
	reference := s.medianSample(func(m measurement) sample { return m.reference })
	ratio, ratios := s.medianRatio(), make([]float64, len(s))
	for i, m := range s {
		ratios[i] = m.ratio
	}
	cells := []string{number, l.what, withUnit(ratio, l.unit), figure(slices.Min(ratios)) + "–" + figure(slices.Max(ratios)), "", "", l.verdict(ratio), l.format(ours), "", "", "", ""}
	if l.must != nil {
		cells[4] = l.must.String()
	}
	if l.aim != nil {
		cells[5] = l.aim.String()
	}
	if !reference.isZero() {
		cells[8] = l.format(reference)
	}
	for i, cpu := range []float64{ours.server, ours.postgres} {
		if cpu > 0 {
			cells[9+i] = figure(cpu)
		}
	}
	var referenceCPU []string
	for _, cpu := range []float64{reference.server, reference.postgres} {
		if cpu > 0 {
			referenceCPU = append(referenceCPU, figure(cpu))
		}
	}
	cells[11] = strings.Join(referenceCPU, " + ")
	return cells
}

func withUnit(ratio float64, unit string) string {
	if unit == "" {
		return figure(ratio)
	}
	return figure(ratio) + " " + unit
}

func (l line) verdict(ratio float64) string {
	switch {
	case l.must == nil:
		return "informational"
	case l.aim != nil && l.aim.holds(ratio):
		return "aim met"
	case l.must.holds(ratio):
		return "met"
	}
	return "missed"
}
