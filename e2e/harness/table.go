package harness

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// Table is a table of text. Its first row is the header.
type Table [][]string

// Text returns the table with aligned columns, for a terminal.
func (t Table) Text() string {
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range t {
		_, _ = io.WriteString(rows, strings.Join(cells, "\t")+"\n") // a strings.Builder never fails
	}
	_ = rows.Flush()
	return text.String()
}

// Markdown returns the table in Markdown.
func (t Table) Markdown() string {
	var text strings.Builder
	for i, cells := range t {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			text.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
		}
	}
	return text.String()
}

// ReplaceSection replaces the text of a Markdown file between two comments that name the section
// and the make target that writes it.
func ReplaceSection(path, target, section, markdown string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- begin %s (written by make %s) -->\n", section, target), fmt.Sprintf("<!-- end %s -->", section)
	before, rest, hasBegin := strings.Cut(string(content), begin)
	_, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return fmt.Errorf("%s lacks the comments %s and %s around the %s", path, strings.TrimSpace(begin), end, section)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+markdown+"\n"+end+after), 0o644)
}
