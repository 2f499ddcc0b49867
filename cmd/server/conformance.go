package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"

	"parley/conformance"
)

// What `parley conformance` ends with.
const (
	conforms    = 0
	conformsNot = 1 // a check failed
	notAsked    = 2 // it could not be asked, or not to the end
)

const conformanceUsage = `usage: parley conformance --base-url URL --key KEY

Asks the deployment at URL whether it keeps the contract, through whatever stands in front of it. It makes chatbots, keys,
conversations and contacts of its own and deletes them at the end. What the key's scopes or the operator's settings make
impossible is skipped, and says so; a key with the scope admin leaves nothing out. It ends with 0 when all checks passed,
with 1 when one failed, and with 2 when it could not ask.

`

// conform asks a deployment whether it keeps the contract, as the arguments say, and returns what the program ends with.
func conform(ctx context.Context, args []string, key string, out, complaints io.Writer) int {
	flags := flag.NewFlagSet("parley conformance", flag.ContinueOnError)
	flags.SetOutput(complaints)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), conformanceUsage)
		flags.PrintDefaults()
	}
	config := conformance.Config{}
	flags.StringVar(&config.BaseURL, "base-url", "", "the `URL` at which the deployment is reached, as http://localhost:8080")
	flags.StringVar(&config.Key, "key", "", "an API `KEY`; by default what the variable PARLEY_KEY says") // which is no default that is shown
	flags.StringVar(&config.Origin, "origin", conformance.DefaultOrigin, "the `ORIGIN` of a web page that may read answers (PARLEY_ALLOWED_ORIGINS)")
	flags.DurationVar(&config.Timeout, "timeout", conformance.DefaultTimeout, "how long all checks may take together")
	only := flags.String("only", "", "make only the checks whose names match the `REGEXP`")
	junit := flags.String("junit", "", "write the results to the `FILE` as JUnit XML")
	isList := flags.Bool("list", false, "list the checks, and ask nothing")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return conforms
	}
	config.Key = cmp.Or(config.Key, key)
	if err == nil { // the flags tell their own mistakes
		if err = completeConformance(&config, flags.Args(), *only, *isList); err != nil {
			fmt.Fprintf(complaints, "parley conformance: %v\n", err)
		}
	}
	switch {
	case err != nil:
		return notAsked
	case *isList:
		for _, one := range conformance.Names() {
			if config.Only == nil || config.Only.MatchString(one.Name) {
				fmt.Fprintf(out, "%-34s %s\n", one.Name, one.Holds)
			}
		}
		return conforms
	}
	return ask(ctx, config, *junit, out, complaints)
}

// completeConformance checks what the flags cannot.
func completeConformance(config *conformance.Config, rest []string, only string, isList bool) (err error) {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if only != "" {
		if config.Only, err = regexp.Compile(only); err != nil {
			return fmt.Errorf("--only: %w", err)
		}
	}
	if isList {
		return nil
	}
	config.BaseURL = strings.TrimRight(config.BaseURL, "/")
	address, err := url.Parse(config.BaseURL)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" || address.RawQuery != "" {
		return errors.New("--base-url must be an http or https URL, such as http://localhost:8080")
	}
	if config.Key == "" {
		return errors.New("--key, or the variable PARLEY_KEY, must be an API key")
	}
	return nil
}

// ask makes the checks and tells what came of them.
func ask(ctx context.Context, config conformance.Config, junit string, out, complaints io.Writer) int {
	fmt.Fprintf(out, "parley conformance: %s\n", config.BaseURL)
	report, err := conformance.Run(ctx, config, func(one conformance.Result) { tell(out, one) })
	for _, left := range report.Left {
		fmt.Fprintf(complaints, "parley conformance: not deleted: %s\n", left)
	}
	if err != nil {
		fmt.Fprintf(complaints, "parley conformance: %v\n", err)
	}
	if len(report.Results) > 0 || err == nil {
		fmt.Fprintf(out, "%d passed, %d failed, %d skipped in %.0f s\n", report.Count(conformance.Passed), report.Count(conformance.Failed), report.Count(conformance.Skipped), report.Took.Seconds())
	}
	// Results that are not all there would pass for a deployment that keeps everything.
	if junit != "" && err == nil {
		if junitErr := writeJUnit(junit, config.BaseURL, report); junitErr != nil {
			fmt.Fprintf(complaints, "parley conformance: --junit: %v\n", junitErr)
			return notAsked
		}
	}
	switch {
	case err != nil:
		return notAsked
	case report.Count(conformance.Failed) > 0:
		return conformsNot
	case len(report.Results) == 0:
		fmt.Fprintln(complaints, "parley conformance: no check has such a name (--list tells them)")
		return notAsked
	}
	return conforms
}

// tell prints a result: a line, and for what failed what it holds and why it does not.
func tell(out io.Writer, one conformance.Result) {
	const line = "%-8s %-34s %5.1f s"
	switch took := one.Took.Seconds(); one.Outcome {
	case conformance.Failed:
		fmt.Fprintf(out, line+"\n         %s\n         But %s\n", "FAILED", one.Name, took, one.Holds, one.Why)
	case conformance.Skipped:
		fmt.Fprintf(out, line+"  %s\n", "skipped", one.Name, took, one.Why)
	default:
		fmt.Fprintf(out, line+"\n", "passed", one.Name, took)
	}
}

func writeJUnit(path, baseURL string, report conformance.Report) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return conformance.WriteJUnit(file, baseURL, report)
}
