// Package conformance checks whether a deployment keeps the API contract, through whatever proxies
// stand in front of it. It knows what every integrator knows: the address, one key, and the OpenAPI
// document that the deployment serves.
//
// Each check verifies one rule. It creates what it needs and depends on no other check. A check
// that the key's scopes or the operator's settings make impossible is skipped, with a reason. Rules
// for all responses are verified with every response of the run and reported by checks of their own
// at the end, so that one fault is reported once.
//
// Everything that a run creates is deleted at its end, even after an error; what cannot be deleted
// is reported.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Config determines what is checked, and how.
type Config struct {
	// BaseURL is the address of the deployment, without a trailing slash.
	BaseURL string
	// Key is an API key. Checks for which it lacks a scope are skipped.
	Key string
	// Chatbot is the ID or slug of the chatbot whose records are checked if the key cannot create a chatbot. Empty
	// means DefaultChatbot.
	Chatbot string
	// Origin is the origin of a web page that may read responses. Empty means DefaultOrigin.
	Origin string
	// Only selects checks by name. Nil selects all.
	Only *regexp.Regexp
	// Timeout bounds the whole run. Zero means DefaultTimeout.
	Timeout time.Duration
	// IdleTime is how long a stream and a socket are left idle, to detect proxies that close idle connections. Zero
	// means long enough for one keep-alive.
	IdleTime time.Duration
}

// The defaults of Config.
const (
	DefaultChatbot = "parley"
	DefaultOrigin  = "https://conformance.example"
	DefaultTimeout = 5 * time.Minute
)

// Outcome is the outcome of a check.
type Outcome string

// The outcomes of a check.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Check names a check and the rule that it verifies.
type Check struct {
	Name string
	Rule string
}

// Result is the result of one check.
type Result struct {
	Check

	Outcome  Outcome
	Reason   string // why it failed or was skipped
	Duration time.Duration
}

// Report is the result of a run.
type Report struct {
	Began   time.Time
	Results []Result
	// NotDeleted lists the resources that the run created and could not delete.
	NotDeleted []string
	Duration   time.Duration
}

// Count returns the number of checks with an outcome.
func (r Report) Count(outcome Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == outcome {
			n++
		}
	}
	return n
}

// Checks returns all checks in the order in which they run.
func Checks() []Check {
	var all []Check
	for _, c := range checks() {
		all = append(all, c.Check)
	}
	return all
}

// Run runs the selected checks and calls report with each result, in order. Slow checks run
// concurrently with the others. When ctx ends, the remaining checks do not run; after the timeout,
// they are skipped. The error explains why the run could not start or finish. The resources that it
// created are deleted in any case.
func Run(ctx context.Context, config Config, report func(Result)) (result Report, err error) {
	result.Began = time.Now()
	config.Chatbot, config.Origin, config.Timeout = cmp.Or(config.Chatbot, DefaultChatbot), cmp.Or(config.Origin, DefaultOrigin), cmp.Or(config.Timeout, DefaultTimeout)
	r, err := newRunner(ctx, config)
	if err != nil {
		return result, err
	}
	defer func() {
		result.NotDeleted = r.cleanUp(context.WithoutCancel(ctx)) // even if ctx has ended
		result.Duration = time.Since(result.Began)
	}()
	limited, cancel := context.WithTimeoutCause(ctx, config.Timeout, fmt.Errorf("the run exceeded its timeout of %s", config.Timeout))
	var slow sync.WaitGroup
	defer func() { cancel(); slow.Wait() }()
	if err := r.prepare(limited); err != nil {
		return result, fmt.Errorf("prepare the run: %w", err)
	}
	selected := slices.DeleteFunc(checks(), func(c check) bool { return config.Only != nil && !config.Only.MatchString(c.Name) })
	results := make([]chan Result, len(selected))
	for i, c := range selected {
		results[i] = make(chan Result, 1)
		if c.isSlow {
			slow.Go(func() { results[i] <- r.run(limited, i, c) })
		}
	}
	for i, c := range selected {
		if !c.isSlow {
			results[i] <- r.run(limited, i, c)
		}
		checked := <-results[i]
		if ctx.Err() != nil {
			return result, errors.New("the run was interrupted")
		}
		result.Results = append(result.Results, checked)
		report(checked)
	}
	return result, context.Cause(limited)
}

// check is a Check that can be run.
type check struct {
	Check

	// scope is the scope that the key needs in addition to those for conversations; empty means none.
	scope string
	// isForAnyKey marks a check that needs no scope for conversations.
	isForAnyKey bool
	// isSlow marks a check that waits for a long time.
	isSlow bool
	// isScripted marks a check that needs a chatbot with the run's script.
	isScripted bool
	run        func(*checker)
}

// checks returns all checks in order. Checks that report on all responses come last.
func checks() []check {
	return slices.Concat(documentChecks(), keyChecks(), requestChecks(), pathChecks(), conversationChecks(), messageChecks(), tenancyChecks(),
		limitChecks(), idempotencyChecks(), completionChecks(), streamChecks(), openAIChecks(), recordChecks(), resourceChecks(), socketChecks(), idleChecks(), responseChecks())
}

// named returns a check without special requirements.
func named(name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, run: run}
}

// forAnyKey returns a check that works with every key.
func forAnyKey(name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, isForAnyKey: true, run: run}
}

// withScope returns a check that needs a scope.
func withScope(scope, name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, scope: scope, run: run}
}

// ofRecords returns a check of records. A key with only the scope records:read can run it.
func ofRecords(name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, scope: "records:read", isForAnyKey: true, run: run}
}

// scripted returns a check that needs a scripted chatbot.
func scripted(name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, isScripted: true, run: run}
}

// slow returns a check that waits for a long time.
func slow(name, rule string, run func(*checker)) check {
	return check{Check: Check{name, rule}, isSlow: true, run: run}
}
