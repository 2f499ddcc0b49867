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

// The exit codes of `parley conformance`.
const (
	exitPassed     = 0
	exitFailed     = 1 // a check failed
	exitIncomplete = 2 // the checks could not be run, or not all of them
)

const conformanceUsage = `usage: parley conformance --base-url URL --key KEY

Checks a deployment against the API contract, through any proxies in front of it. The checks create chatbots, keys,
conversations and contacts, and delete them at the end. Checks that the scopes of the key or the operator's settings make
impossible are skipped with a reason. A key with the scope admin skips none. When a rate limit is exceeded, the checks wait
until it allows more; with the default limits, a key that cannot create users needs a few minutes. The exit code is 0 if
all checks passed, 1 if one failed, and 2 if the checks could not be completed.

`

// runConformance executes `parley conformance` and returns the exit code. defaultKey is used without --key.
func runConformance(ctx context.Context, args []string, defaultKey string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("parley conformance", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), conformanceUsage)
		flags.PrintDefaults()
	}
	config := conformance.Config{}
	flags.StringVar(&config.BaseURL, "base-url", "", "`URL` of the deployment, such as http://localhost:8080")
	// The default is applied below: the flag package would print it in the usage.
	flags.StringVar(&config.Key, "key", "", "API `KEY` (default: the environment variable PARLEY_KEY)")
	flags.StringVar(&config.Chatbot, "chatbot", conformance.DefaultChatbot, "`CHATBOT` whose records are checked if the key cannot create chatbots")
	flags.StringVar(&config.Origin, "origin", conformance.DefaultOrigin, "`ORIGIN` of a web page that may call the API (PARLEY_ALLOWED_ORIGINS)")
	flags.DurationVar(&config.Timeout, "timeout", conformance.DefaultTimeout, "timeout of all checks together")
	only := flags.String("only", "", "run only the checks whose names match the `REGEXP`")
	junit := flags.String("junit", "", "write the results to `FILE` as JUnit XML")
	isList := flags.Bool("list", false, "list the checks without running them")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return exitPassed
	}
	config.Key = cmp.Or(config.Key, defaultKey)
	if err == nil { // the flag package prints its own errors
		if err = validateConformance(&config, flags.Args(), *only, *isList); err != nil {
			fmt.Fprintf(errOut, "parley conformance: %v\n", err)
		}
	}
	switch {
	case err != nil:
		return exitIncomplete
	case *isList:
		for _, check := range conformance.Checks() {
			if config.Only == nil || config.Only.MatchString(check.Name) {
				fmt.Fprintf(out, "%-34s %s\n", check.Name, check.Rule)
			}
		}
		return exitPassed
	}
	if *junit == "" {
		return runChecks(ctx, config, io.Discard, out, errOut)
	}
	// The file is created first, so that a path that cannot be written is noticed before the checks run.
	file, err := os.Create(*junit)
	if err != nil {
		fmt.Fprintf(errOut, "parley conformance: --junit: %v\n", err)
		return exitIncomplete
	}
	code := runChecks(ctx, config, file, out, errOut)
	if err := file.Close(); err != nil {
		fmt.Fprintf(errOut, "parley conformance: --junit: %v\n", err)
		return exitIncomplete
	}
	return code
}

// validateConformance validates and completes the values of the flags.
func validateConformance(config *conformance.Config, rest []string, only string, isList bool) (err error) {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
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
		return errors.New("--key, or the environment variable PARLEY_KEY, must be an API key")
	}
	return nil
}

// runChecks runs the checks, prints the results, writes them to junit, and returns the exit code.
func runChecks(ctx context.Context, config conformance.Config, junit, out, errOut io.Writer) int {
	fmt.Fprintf(out, "parley conformance: %s\n", config.BaseURL)
	report, err := conformance.Run(ctx, config, func(result conformance.Result) { printResult(out, result) })
	for _, resource := range report.NotDeleted {
		fmt.Fprintf(errOut, "parley conformance: not deleted: %s\n", resource)
	}
	if err == nil && len(report.Results) == 0 {
		err = errors.New("no check matches --only (--list shows all names)")
	}
	if err != nil {
		fmt.Fprintf(errOut, "parley conformance: %v\n", err)
	}
	if len(report.Results) > 0 || err == nil {
		fmt.Fprintf(out, "%d passed, %d failed, %d skipped in %.0f s\n", report.Count(conformance.Passed), report.Count(conformance.Failed), report.Count(conformance.Skipped), report.Duration.Seconds())
	}
	if junitErr := conformance.WriteJUnit(junit, config.BaseURL, report, err); junitErr != nil {
		fmt.Fprintf(errOut, "parley conformance: --junit: %v\n", junitErr)
		return exitIncomplete
	}
	switch {
	case err != nil:
		return exitIncomplete
	case report.Count(conformance.Failed) > 0:
		return exitFailed
	}
	return exitPassed
}

// printResult prints one line for a result, and for a failed check also its rule and the reason.
func printResult(out io.Writer, result conformance.Result) {
	const line = "%-8s %-34s %5.1f s"
	switch took := result.Duration.Seconds(); result.Outcome {
	case conformance.Failed:
		fmt.Fprintf(out, line+"\n         %s\n         %s\n", "FAILED", result.Name, took, result.Rule, result.Reason)
	case conformance.Skipped:
		fmt.Fprintf(out, line+"  %s\n", "skipped", result.Name, took, result.Reason)
	default:
		fmt.Fprintf(out, line+"\n", "passed", result.Name, took)
	}
}
