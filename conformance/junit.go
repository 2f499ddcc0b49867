package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// WriteJUnit writes a report in the form that CI systems read.
func WriteJUnit(w io.Writer, baseURL string, report Report) error {
	type message struct {
		Text string `xml:"message,attr"`
	}
	type testCase struct {
		Suite   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Seconds string   `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Skipped *message `xml:"skipped"`
		Holds   string   `xml:"system-out"`
	}
	type suite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Host     string     `xml:"hostname,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Seconds  string     `xml:"time,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	all := suite{
		Name: "parley conformance", Host: baseURL, Tests: len(report.Results), Failures: report.Count(Failed), Skipped: report.Count(Skipped),
		Seconds: fmt.Sprintf("%.3f", report.Took.Seconds()),
	}
	for _, one := range report.Results {
		room, _, _ := strings.Cut(one.Name, "/")
		made := testCase{Suite: "parley.conformance." + room, Name: one.Name, Seconds: fmt.Sprintf("%.3f", one.Took.Seconds()), Holds: one.Holds}
		switch why := (&message{one.Why}); one.Outcome {
		case Failed:
			made.Failure = why
		case Skipped:
			made.Skipped = why
		}
		all.Cases = append(all.Cases, made)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
