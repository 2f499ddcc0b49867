package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"parley/e2e/harness"
)

// table shows the medians of all rounds, the smallest and largest ratio beside them,
// and what must be and is aimed at.
func (b *bench) table(machine string, of seeds, rows []row, found [][]series) report {
	g := harness.Table{{"#", "what", "ratio", "from–to", "must", "aim", "verdict", "Parley", "against", "CPU µs: server", "PostgreSQL", "against: CPU µs"}}
	for i, r := range rows {
		for k, l := range r.lines {
			if s := found[i][k]; len(s) > 0 && !math.IsNaN(s[0].ratio) {
				g = append(g, l.cells(r.number, s))
			}
		}
	}
	head := fmt.Sprintf("%s.\n%d rounds of %d s, in turns; %d messages in conversations of %d, %d records of the busiest chatbot, %d users; medians.\n",
		machine, b.rounds, b.seconds, of.messages, messagesPerTalk, of.records, userCount)
	return report{head + "\n" + g.Text(), head + "\n" + g.Markdown()}
}

// cells are a line's: the ratio is the median of all rounds, what stands behind it is
// the middle of what they were.
func (l line) cells(number string, s series) []string {
	ratio := func(f finding) float64 { return f.ratio }
	ours, against := s.middle(func(f finding) sample { return f.ours }), s.middle(func(f finding) sample { return f.against })
	middle, all := s.median(ratio), make([]float64, len(s))
	for i, one := range s {
		all[i] = one.ratio
	}
	cells := []string{number, l.what, withUnit(middle, l.unit), figure(slices.Min(all)) + "–" + figure(slices.Max(all)), "", "", l.verdict(middle), l.shows(ours), "", "", "", ""}
	if l.must != nil {
		cells[4] = l.must.String()
	}
	if l.aim != nil {
		cells[5] = l.aim.String()
	}
	if !against.isNothing() {
		cells[8] = l.shows(against)
	}
	for i, cpu := range []float64{ours.server, ours.postgres} {
		if cpu > 0 {
			cells[9+i] = figure(cpu)
		}
	}
	var others []string
	for _, cpu := range []float64{against.server, against.postgres} {
		if cpu > 0 {
			others = append(others, figure(cpu))
		}
	}
	cells[11] = strings.Join(others, " + ")
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
		return "told only"
	case l.aim != nil && l.aim.holds(ratio):
		return "aim met"
	case l.must.holds(ratio):
		return "met"
	}
	return "missed"
}
