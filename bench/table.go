package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// grid is a table: its first row is the heads.
type grid [][]string

// text aligns the columns for a terminal.
func (g grid) text() string {
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range g {
		_, _ = io.WriteString(rows, strings.Join(cells, "\t")+"\n") // to memory, which does not fail
	}
	_ = rows.Flush()
	return text.String()
}

func (g grid) markdown() string {
	var text strings.Builder
	for i, cells := range g {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			text.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
		}
	}
	return text.String()
}

// table shows the medians of all rounds, the smallest and largest ratio beside them,
// and what must be and is aimed at.
func (b *bench) table(machine string, of seeds, rows []row, found [][]series) report {
	g := grid{{"#", "what", "ratio", "from–to", "must", "aim", "verdict", "Parley", "against", "CPU µs: server", "PostgreSQL", "against: CPU µs"}}
	for i, r := range rows {
		for k, l := range r.lines {
			if s := found[i][k]; len(s) > 0 && !math.IsNaN(s[0].ratio) {
				g = append(g, l.cells(r.number, s))
			}
		}
	}
	head := fmt.Sprintf("%s.\n%d rounds of %d s, in turns; %d messages in conversations of %d, %d records of the busiest chatbot, %d users; medians.\n",
		machine, b.rounds, b.seconds, of.messages, messagesPerTalk, of.records, userCount)
	return report{head + "\n" + g.text(), head + "\n" + g.markdown()}
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

// putInto puts what was found into its place in a file: between two comments.
func putInto(path, place, markdown string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- begin of the %s, which make bench writes -->\n", place), fmt.Sprintf("<!-- end of the %s -->", place)
	before, rest, hasBegin := strings.Cut(string(content), begin)
	_, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return errors.New(path + " has no place for the " + place + ": two comments, " + strings.TrimSpace(begin) + " and " + end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+markdown+"\n"+end+after), 0o644)
}
