package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/conformance"
)

// conformanceTime bounds a whole run of the suite, which leaves a socket silent for half a minute.
const conformanceTime = 2 * time.Minute

var closingLine = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed, (\d+) skipped in \d+ s\n$`)

// All checks pass against the program itself, with the rate limits that it has by default, and nothing is left of them.
func TestTheProgramConforms(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=60,history=100,list=30", "PARLEY_ALLOWED_ORIGINS=https://conformance.example")
	before := belongings(server)
	file := filepath.Join(t.TempDir(), "junit.xml")
	run := launch(t, newDir(t), []string{"PARLEY_KEY=" + server.key}, "conformance", "--base-url", server.base+"/", "--junit", file)
	mustSayWhyItCannotAsk(t, server) // while it waits
	if code := run.awaitEnd(conformanceTime); code != 0 || run.stderr.String() != "" {
		t.Fatalf("it ended with %d and said %s%s", code, run.stdout.String(), run.stderr.String())
	}
	closing := closingLine.FindStringSubmatch(run.stdout.String())
	all := len(conformance.Checks())
	if closing == nil || closing[1] != fmt.Sprint(all) || closing[2] != "0" || closing[3] != "0" {
		t.Errorf("of %d checks it says %q", all, closing)
	}
	for _, one := range conformance.Checks() {
		if !strings.Contains(run.stdout.String(), "passed   "+one.Name+" ") {
			t.Errorf("it says nothing of %s", one.Name)
		}
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name string `xml:"name,attr"`
		} `xml:"testcase"`
	}
	if content, err := os.ReadFile(file); err != nil || xml.Unmarshal(content, &suite) != nil || suite.Tests != all || len(suite.Cases) != all || suite.Failures != 0 {
		t.Errorf("%v, %+v", err, suite)
	}
	if after := belongings(server); after != before {
		t.Errorf("before it there are %s, after it %s", before, after)
	}
}

// belongings counts what an organization has that the suite makes too.
func belongings(server *process) string {
	admin := server.client(server.key)
	var all []string
	for _, what := range []string{"chatbots", "api-keys", "contacts", "web-chats", "inboxes"} {
		var list struct{ Count int }
		admin.call("GET", "/api/"+what+"/", nil, http.StatusOK, &list)
		all = append(all, fmt.Sprintf("%d %s", list.Count, what))
	}
	var page struct{ Results []object }
	admin.call("GET", "/api/conversations/?pageSize=100", nil, http.StatusOK, &page)
	return fmt.Sprintf("%s and %d conversations", strings.Join(all, ", "), len(page.Results))
}

func TestTheSuiteNamesWhatADeploymentBreaks(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=0,history=0,list=50")
	mustDoWhatAKeyMay(t, server)
	t.Run("each", func(t *testing.T) {
		for _, one := range brokenDeployments {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				proxy := one.serve(t, server.base)
				report := asked(t, conformance.Config{BaseURL: proxy, Key: server.key, Only: regexp.MustCompile(one.only), IdleTime: one.silence})
				var failed []string
				for _, result := range report.Results {
					if result.Outcome == conformance.Failed {
						failed = append(failed, result.Name)
						t.Logf("%s: %s", result.Name, result.Reason)
					}
				}
				if slices.Sort(failed); !slices.Equal(failed, one.fails) {
					t.Errorf("of %d checks fail\n%q, not\n%q", len(report.Results), failed, one.fails)
				}
				if len(report.NotDeleted) > 0 {
					t.Errorf("it leaves %q", report.NotDeleted)
				}
			})
		}
	})
	// What they have all made is gone, but for the contact that the partner's user has become.
	if got := belongings(server); got != "1 chatbots, 2 api-keys, 1 contacts, 1 web-chats, 2 inboxes and 0 conversations" {
		t.Errorf("there are %s", got)
	}
}

// mustDoWhatAKeyMay: with a key that may only converse the suite skips what it may not, and says why.
func mustDoWhatAKeyMay(t *testing.T, server *process) {
	t.Helper()
	var made struct{ Key string }
	server.client(server.key).call("POST", "/api/api-keys/", object{"name": "partner", "user": "partner", "scopes": []string{"chat"}}, http.StatusCreated, &made)
	server.secrets = append(server.secrets, secretOf(made.Key))
	report := asked(t, conformance.Config{BaseURL: server.base, Key: made.Key, IdleTime: time.Second})
	for _, one := range report.Results {
		if one.Outcome == conformance.Failed || one.Outcome == conformance.Skipped && one.Reason == "" {
			t.Errorf("%s %s: %s", one.Outcome, one.Name, one.Reason)
		}
	}
	if passed := report.Count(conformance.Passed); passed < 40 || report.Count(conformance.Skipped) < 20 {
		t.Errorf("%d checks pass, and %d are skipped", passed, report.Count(conformance.Skipped))
	}
}

func asked(t *testing.T, config conformance.Config) conformance.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conformanceTime)
	defer cancel()
	report, err := conformance.Run(ctx, config, func(conformance.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// What is broken off deletes what it has made.
func TestTheSuiteCleansUpWhenItIsBrokenOff(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	before := belongings(server)
	run := launch(t, newDir(t), nil, "conformance", "--base-url", server.base, "--key", server.key, "--only", "^(service|idle)/")
	eventually(t, "the first result", func() bool { return strings.Contains(run.stdout.String(), "passed   service/ready") })
	if belongings(server) == before {
		t.Error("it has made nothing")
	}
	run.signal(syscall.SIGINT)
	if code := run.awaitEnd(patience); code != 2 || !strings.Contains(run.stderr.String(), "interrupted") || !strings.Contains(run.stdout.String(), "1 passed, 0 failed") {
		t.Errorf("it ended with %d and said %s%s", code, run.stdout.String(), run.stderr.String())
	}
	if after := belongings(server); after != before {
		t.Errorf("before it there are %s, after it %s", before, after)
	}

	// and what it may not delete it names
	proxy := brokenDeployment{change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodDelete {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}}.serve(t, server.base)
	stdout, stderr, code := runCommand(t, newDir(t), nil, "conformance", "--base-url", proxy, "--key", server.key, "--only", "^service/")
	if code != 0 || strings.Count(stderr, "not deleted: the API key") != 5 || strings.Count(stderr, "not deleted: the contact") != 4 || !strings.Contains(stderr, "not deleted: the chatbot parley-conformance-1 (") {
		t.Errorf("it ended with %d and said %s%s", code, stdout, stderr)
	}
}

// mustSayWhyItCannotAsk: what cannot be asked is told, and is no failed check.
func mustSayWhyItCannotAsk(t *testing.T, server *process) {
	t.Helper()
	moved := brokenDeployment{change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "/"), http.StatusMovedPermanently)
			return
		}
		next.ServeHTTP(w, r)
	}}.serve(t, server.base)
	for _, one := range []struct {
		args []string
		says string
	}{
		{[]string{"--key", "x"}, "--base-url"},
		{[]string{"--base-url", server.base}, "--key"},
		{[]string{"--base-url", server.base, "--key", "pk_nobody.has-this-key-at-all"}, "the key is not valid, or a proxy drops the Authorization header"},
		{[]string{"--base-url", "http://127.0.0.1:1", "--key", "x"}, "no response"},
		{[]string{"--base-url", server.base, "--key", server.key, "--only", "nothing"}, "no check matches --only"},
		{[]string{"--base-url", server.base, "--key", server.key, "--only", "("}, "--only"},
		{[]string{"--base-url", server.base, "--key", server.key, "--timeout", "1ms"}, "the run exceeded its timeout"},
		{[]string{"--frobnicate"}, "usage: parley conformance"},
		{[]string{"--base-url", moved, "--key", server.key}, "is redirected (301)"},
	} {
		stdout, stderr, code := runCommand(t, newDir(t), nil, append([]string{"conformance"}, one.args...)...)
		if code != 2 || !strings.Contains(stderr, one.says) {
			t.Errorf("%v: it ended with %d and said %s%s", one.args, code, stdout, stderr)
		}
	}
	stdout, _, code := runCommand(t, newDir(t), nil, "conformance", "--list")
	if code != 0 || strings.Count(stdout, "\n") != len(conformance.Checks()) {
		t.Errorf("the list ended with %d: %s", code, stdout)
	}
	if stdout, _, code := runCommand(t, newDir(t), nil, "help"); code != 0 || !strings.Contains(stdout, "parley conformance") {
		t.Errorf("the help ended with %d: %s", code, stdout)
	}
}
