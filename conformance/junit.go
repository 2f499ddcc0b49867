package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// WriteJUnit writes a report as JUnit XML, which CI systems read.
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
		Rule    string   `xml:"system-out"`
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
		Seconds: fmt.Sprintf("%.3f", report.Duration.Seconds()),
	}
	for _, result := range report.Results {
		group, _, _ := strings.Cut(result.Name, "/")
		current := testCase{Suite: "parley.conformance." + group, Name: result.Name, Seconds: fmt.Sprintf("%.3f", result.Duration.Seconds()), Rule: result.Rule}
		switch reason := (&message{result.Reason}); result.Outcome {
		case Failed:
			current.Failure = reason
		case Skipped:
			current.Skipped = reason
		}
		all.Cases = append(all.Cases, current)
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
