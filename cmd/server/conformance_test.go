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

// conformanceTimeout bounds a run of all checks, one of which keeps a socket idle for half a minute.
const conformanceTimeout = 2 * time.Minute

var closingLine = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed, (\d+) skipped in \d+ s\n$`)

// All checks pass against a server with the default rate limits, and all their resources are deleted.
func TestServerPassesConformance(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=60,history=100,list=30", "PARLEY_ALLOWED_ORIGINS=https://conformance.example")
	before := resourceCounts(server)
	file := filepath.Join(t.TempDir(), "junit.xml")
	run := launch(t, newDir(t), []string{"PARLEY_KEY=" + server.key}, "conformance", "--base-url", server.base+"/", "--junit", file)
	expectIncompleteRuns(t, server) // while the checks run
	if code := run.awaitExit(conformanceTimeout); code != 0 || run.stderr.String() != "" {
		t.Fatalf("exit code %d: %s%s", code, run.stdout.String(), run.stderr.String())
	}
	closing := closingLine.FindStringSubmatch(run.stdout.String())
	all := len(conformance.Checks())
	if closing == nil || closing[1] != fmt.Sprint(all) || closing[2] != "0" || closing[3] != "0" {
		t.Errorf("the summary of %d checks is %q", all, closing)
	}
	for _, check := range conformance.Checks() {
		if !strings.Contains(run.stdout.String(), "passed   "+check.Name+" ") {
			t.Errorf("no result of %s", check.Name)
		}
	}
	suite := readJUnit(t, file)
	if suite.Tests != all || len(suite.Cases) != all || suite.Failures != 0 || suite.Errors != 0 || suite.Host != "127.0.0.1" {
		t.Errorf("%+v", suite)
	}
	if began, err := time.Parse("2006-01-02T15:04:05", suite.Began); err != nil || time.Since(began) > 2*conformanceTimeout || time.Since(began) < 0 {
		t.Errorf("the timestamp is %q", suite.Began)
	}
	if after := resourceCounts(server); after != before {
		t.Errorf("resources before: %s, after: %s", before, after)
	}
}

// junitSuite is the part of a JUnit file that CI systems read.
type junitSuite struct {
	Host     string `xml:"hostname,attr"`
	Began    string `xml:"timestamp,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Cases    []struct {
		Name  string `xml:"name,attr"`
		Error *struct {
			Message string `xml:"message,attr"`
		} `xml:"error"`
	} `xml:"testcase"`
}

func readJUnit(t *testing.T, file string) (suite junitSuite) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err == nil {
		err = xml.Unmarshal(content, &suite)
	}
	if err != nil {
		t.Fatal(err)
	}
	return suite
}

// resourceCounts counts the resources of the kinds that the checks create.
func resourceCounts(server *process) string {
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

func TestConformanceDetectsBrokenDeployments(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=0,history=0,list=50")
	expectSkipsWithChatKey(t, server)
	t.Run("each", func(t *testing.T) {
		for _, deployment := range brokenDeployments {
			t.Run(deployment.name, func(t *testing.T) {
				t.Parallel()
				proxy := deployment.serve(t, server.base)
				report := mustRun(t, conformance.Config{BaseURL: proxy, Key: server.key, Only: regexp.MustCompile(deployment.only), IdleTime: deployment.silence})
				var failed []string
				for _, result := range report.Results {
					if result.Outcome == conformance.Failed {
						failed = append(failed, result.Name)
						t.Logf("%s: %s", result.Name, result.Reason)
					}
				}
				if slices.Sort(failed); !slices.Equal(failed, deployment.fails) {
					t.Errorf("of %d checks, failed\n%q, want\n%q", len(report.Results), failed, deployment.fails)
				}
				if len(report.NotDeleted) > 0 {
					t.Errorf("not deleted: %q", report.NotDeleted)
				}
			})
		}
	})
	// All resources are deleted, except for the contact of the partner's user.
	if got := resourceCounts(server); got != "1 chatbots, 2 api-keys, 1 contacts, 2 web-chats, 2 inboxes and 0 conversations" {
		t.Errorf("left over: %s", got)
	}
}

// expectSkipsWithChatKey runs the checks with a key that has only the scope chat. Checks that need more are skipped
// with a reason.
func expectSkipsWithChatKey(t *testing.T, server *process) {
	t.Helper()
	report := mustRun(t, conformance.Config{BaseURL: server.base, Key: createKey(server, "chat"), IdleTime: time.Second})
	for _, result := range report.Results {
		if result.Outcome == conformance.Failed || result.Outcome == conformance.Skipped && result.Reason == "" {
			t.Errorf("%s %s: %s", result.Outcome, result.Name, result.Reason)
		}
	}
	if passed := report.Count(conformance.Passed); passed < 40 || report.Count(conformance.Skipped) < 20 {
		t.Errorf("%d checks passed, %d skipped", passed, report.Count(conformance.Skipped))
	}
}

// createKey creates a key of the user partner.
func createKey(server *process, scope string) string {
	var made struct{ Key string }
	server.client(server.key).call("POST", "/api/api-keys/", object{"name": "partner", "user": "partner", "scopes": []string{scope}}, http.StatusCreated, &made)
	server.secrets = append(server.secrets, secretOf(made.Key))
	return made.Key
}

// The checks wait for the rate limit of the run's only user, on sockets too.
func TestConformanceWaitsForRateLimits(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=2,history=0,list=0")
	report := mustRun(t, conformance.Config{BaseURL: server.base, Key: createKey(server, "chat"), Only: regexp.MustCompile("^sockets/(idempotent|errors|large-frame)$")})
	if report.Count(conformance.Passed) != 3 || report.Duration < 30*time.Second {
		t.Errorf("%+v", report)
	}
}

// A key that may only read records can run some checks: of the document, of the key, and of the records of a chatbot
// of the deployment.
func TestConformanceWithRecordsKey(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	server.client(server.key).call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hello"}}, http.StatusOK, nil)
	key := createKey(server, "records:read")
	report := mustRun(t, conformance.Config{BaseURL: server.base, Key: key})
	for _, result := range report.Results {
		wantsPass := regexp.MustCompile("^(document|service|responses|records)/|^keys/(me|schemes|unauthorized)$").MatchString(result.Name) && result.Name != "records/scores"
		if result.Outcome == conformance.Failed || wantsPass && result.Outcome != conformance.Passed {
			t.Errorf("%s %s: %s", result.Outcome, result.Name, result.Reason)
		}
	}
	unknown := mustRun(t, conformance.Config{BaseURL: server.base, Key: key, Chatbot: "nobody", Only: regexp.MustCompile("^records/list$")})
	if got := unknown.Results[0]; got.Outcome != conformance.Skipped || !strings.Contains(got.Reason, "no chatbot nobody") {
		t.Errorf("%+v", got)
	}
}

// When the timeout is reached, the remaining checks are skipped, and the run is incomplete rather than failed.
func TestConformanceOutOfTime(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	file := filepath.Join(t.TempDir(), "junit.xml")
	stdout, stderr, code := runCommand(t, newDir(t), nil, "conformance", "--base-url", server.base, "--key", server.key, "--only", "^(service|idle)/", "--timeout", "3s", "--junit", file)
	if code != 2 || !strings.Contains(stderr, "the run exceeded its timeout of 3s") || !strings.Contains(stdout, "1 passed, 0 failed, 2 skipped") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	suite := readJUnit(t, file)
	if suite.Tests != 4 || suite.Errors != 1 || suite.Failures != 0 || !strings.Contains(suite.Cases[3].Error.Message, "exceeded its timeout") {
		t.Errorf("%+v", suite)
	}

	// and: a file that cannot be written is reported before the checks run
	stdout, stderr, code = runCommand(t, newDir(t), nil, "conformance", "--base-url", server.base, "--key", server.key, "--junit", filepath.Join(file, "below"))
	if code != 2 || stdout != "" || !strings.Contains(stderr, "--junit") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}

	// and: a run that cannot start writes the file
	_, _, code = runCommand(t, newDir(t), nil, "conformance", "--base-url", "http://127.0.0.1:1", "--key", "x", "--junit", file)
	if suite := readJUnit(t, file); code != 2 || suite.Tests != 1 || suite.Errors != 1 || suite.Host != "127.0.0.1" || suite.Began == "" {
		t.Errorf("exit code %d: %+v", code, suite)
	}
}

func mustRun(t *testing.T, config conformance.Config) conformance.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conformanceTimeout)
	defer cancel()
	report, err := conformance.Run(ctx, config, func(conformance.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// An interrupted run deletes the resources that it has created.
func TestConformanceCleansUpWhenInterrupted(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	before := resourceCounts(server)
	run := launch(t, newDir(t), nil, "conformance", "--base-url", server.base, "--key", server.key, "--only", "^(service|idle)/")
	eventually(t, "the first result", func() bool { return strings.Contains(run.stdout.String(), "passed   service/ready") })
	if resourceCounts(server) == before {
		t.Error("the checks created nothing")
	}
	run.signal(syscall.SIGINT)
	if code := run.awaitExit(testTimeout); code != 2 || !strings.Contains(run.stderr.String(), "interrupted") || !strings.Contains(run.stdout.String(), "1 passed, 0 failed") {
		t.Errorf("exit code %d: %s%s", code, run.stdout.String(), run.stderr.String())
	}
	if after := resourceCounts(server); after != before {
		t.Errorf("resources before: %s, after: %s", before, after)
	}

	// and: it reports resources that it cannot delete
	proxy := brokenDeployment{change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodDelete {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}}.serve(t, server.base)
	stdout, stderr, code := runCommand(t, newDir(t), nil, "conformance", "--base-url", proxy, "--key", server.key, "--only", "^service/")
	if code != 0 || strings.Count(stderr, "not deleted: the API key") != 5 || strings.Count(stderr, "not deleted: the contact") != 4 || !strings.Contains(stderr, "not deleted: the chatbot parley-conformance-1 (") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// expectIncompleteRuns checks that a run that cannot be completed has the exit code 2 and reports the reason.
func expectIncompleteRuns(t *testing.T, server *process) {
	t.Helper()
	moved := brokenDeployment{change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "/"), http.StatusMovedPermanently)
			return
		}
		next.ServeHTTP(w, r)
	}}.serve(t, server.base)
	for _, test := range []struct {
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
		stdout, stderr, code := runCommand(t, newDir(t), nil, append([]string{"conformance"}, test.args...)...)
		if code != 2 || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: exit code %d: %s%s", test.args, code, stdout, stderr)
		}
	}
	stdout, _, code := runCommand(t, newDir(t), nil, "conformance", "--list")
	if code != 0 || strings.Count(stdout, "\n") != len(conformance.Checks()) {
		t.Errorf("--list: exit code %d: %s", code, stdout)
	}
	if stdout, _, code := runCommand(t, newDir(t), nil, "help"); code != 0 || !strings.Contains(stdout, "parley conformance") {
		t.Errorf("help: exit code %d: %s", code, stdout)
	}
}
