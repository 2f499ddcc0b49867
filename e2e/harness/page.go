package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// Grid is a table: its first row is the heads.
type Grid [][]string

// Text aligns the columns for a terminal.
func (g Grid) Text() string {
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range g {
		_, _ = io.WriteString(rows, strings.Join(cells, "\t")+"\n") // to memory, which does not fail
	}
	_ = rows.Flush()
	return text.String()
}

// Markdown is the table for a page.
func (g Grid) Markdown() string {
	var text strings.Builder
	for i, cells := range g {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			text.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
		}
	}
	return text.String()
}

// PutInto puts what a program has found into its place in a file: between two comments.
func PutInto(path, program, place, markdown string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- begin of the %s, which make %s writes -->\n", place, program), fmt.Sprintf("<!-- end of the %s -->", place)
	before, rest, hasBegin := strings.Cut(string(content), begin)
	_, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return errors.New(path + " has no place for the " + place + ": two comments, " + strings.TrimSpace(begin) + " and " + end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+markdown+"\n"+end+after), 0o644)
}
