// Package conformance asks a deployment, through whatever stands in front of it, whether it keeps the contract. It knows
// what every integrator knows: the address, one key, and the document that the deployment serves.
//
// Each check is one function that holds one sentence. It needs no other one, makes what it asks about, and is told apart
// from what the key or the operator's settings make impossible: that is skipped, with its reason. What holds for every
// answer is looked at with each, whatever the check is about, and told by checks of its own at the end, so that one fault
// is told once.
//
// All that is made is deleted at the end, whatever that is, and what could not be deleted is named.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Config is what is asked, and how.
type Config struct {
	// BaseURL is where the deployment is reached, without a path's trailing slash.
	BaseURL string
	// Key is an API key. What its scopes do not allow is skipped.
	Key string
	// Origin is that of a web page which may read answers; empty: DefaultOrigin.
	Origin string
	// Only are the names of the checks that are made; nil: all.
	Only *regexp.Regexp
	// Timeout bounds all checks together; zero: DefaultTimeout.
	Timeout time.Duration
	// Silence is how long a stream and a socket are left silent, to see whether something cuts idle connections. Zero:
	// long enough that both must show that they live.
	Silence time.Duration
}

// Outcome is what came of a check.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is what came of one check.
type Result struct {
	Name    string
	Holds   string // the sentence that it holds
	Outcome Outcome
	Why     string // it failed or was skipped
	Took    time.Duration
}

// Report is what came of them all.
type Report struct {
	Results []Result
	// Left is what was made and could not be deleted.
	Left []string
	Took time.Duration
}

// Count is how many checks had an outcome.
func (r Report) Count(outcome Outcome) int {
	n := 0
	for _, one := range r.Results {
		if one.Outcome == outcome {
			n++
		}
	}
	return n
}

// Names are the names and sentences of all checks, in their order; nothing has come of them.
func Names() []Result {
	var all []Result
	for _, one := range checks() {
		all = append(all, Result{Name: one.name, Holds: one.holds})
	}
	return all
}

// What a run does that is told nothing else.
const (
	DefaultOrigin  = "https://conformance.example"
	DefaultTimeout = 5 * time.Minute
)

// Run makes the checks in their order, and tells each result as soon as those before it are told. Those that wait for
// long do so beside the others. When ctx ends, the checks that are left are not made. The error says why the deployment
// could not be asked at all, or was not asked to the end; what was made is deleted nonetheless.
func Run(ctx context.Context, config Config, told func(Result)) (report Report, err error) {
	began := time.Now()
	config.Origin, config.Timeout = cmp.Or(config.Origin, DefaultOrigin), cmp.Or(config.Timeout, DefaultTimeout)
	d, err := meet(ctx, config)
	if err != nil {
		return report, err
	}
	defer func() {
		report.Left = d.cleanUp(context.WithoutCancel(ctx)) // also when ctx has ended
		report.Took = time.Since(began)
	}()
	limited, cancel := context.WithTimeoutCause(ctx, config.Timeout, errors.New("the time for all checks was over"))
	var slow sync.WaitGroup
	defer func() { cancel(); slow.Wait() }()
	if err := d.prepare(limited); err != nil {
		return report, fmt.Errorf("what the checks need could not be made: %w", err)
	}
	chosen := slices.DeleteFunc(checks(), func(one check) bool { return config.Only != nil && !config.Only.MatchString(one.name) })
	results := make([]chan Result, len(chosen))
	for i, one := range chosen {
		results[i] = make(chan Result, 1)
		if one.isSlow {
			slow.Go(func() { results[i] <- d.try(limited, i, one) })
		}
	}
	for i, one := range chosen {
		if !one.isSlow {
			results[i] <- d.try(limited, i, one)
		}
		result := <-results[i]
		if ctx.Err() != nil {
			return report, errors.New("it was broken off")
		}
		report.Results = append(report.Results, result)
		told(result)
	}
	return report, nil
}

// check is a question to the deployment.
type check struct {
	name  string
	holds string
	// needs is the scope without which it cannot be asked; empty: none beyond those to converse.
	needs string
	// isSlow: it waits for long, and is made beside the others.
	isSlow bool
	ask    func(*trial)
}

// checks are all of them, in their order: those that look back at all answers come last.
func checks() []check {
	return slices.Concat(documentChecks(), keyChecks(), requestChecks(), pathChecks(), conversationChecks(), messageChecks(), tenancyChecks(),
		limitChecks(), repeatChecks(), completionChecks(), streamChecks(), openAIChecks(), recordChecks(), resourceChecks(), socketChecks(), idleChecks(), answerChecks())
}

// newHTTP is the way to the deployment. A redirect is an answer, and so is what somebody has compressed.
func newHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
