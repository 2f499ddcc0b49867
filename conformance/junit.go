package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// WriteJUnit writes a report as JUnit XML, which CI systems read. If the run could not be completed, incomplete is
// the reason. It is reported as an additional test case with an error.
func WriteJUnit(w io.Writer, baseURL string, report Report, incomplete error) error {
	type message struct {
		Text string `xml:"message,attr"`
	}
	type testCase struct {
		Suite   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Seconds string   `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Error   *message `xml:"error"`
		Skipped *message `xml:"skipped"`
		Rule    string   `xml:"system-out"`
	}
	type property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	type suite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Host     string     `xml:"hostname,attr"`
		Began    string     `xml:"timestamp,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Seconds  string     `xml:"time,attr"`
		About    []property `xml:"properties>property"`
		Cases    []testCase `xml:"testcase"`
	}
	host := ""
	if address, err := url.Parse(baseURL); err == nil {
		host = address.Hostname()
	}
	all := suite{
		Name: "parley conformance", Host: host, Began: report.Began.UTC().Format("2006-01-02T15:04:05"),
		Tests: len(report.Results), Failures: report.Count(Failed), Skipped: report.Count(Skipped),
		Seconds: fmt.Sprintf("%.3f", report.Duration.Seconds()), About: []property{{"base-url", baseURL}},
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
	if incomplete != nil {
		all.Tests, all.Errors = all.Tests+1, 1
		all.Cases = append(all.Cases, testCase{
			Suite: "parley.conformance.run", Name: "run", Seconds: "0.000", Error: &message{incomplete.Error()}, Rule: "All selected checks run.",
		})
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
