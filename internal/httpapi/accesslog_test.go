package httpapi_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/internal/auth"
)

// logLines collects the lines of a log.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// lines returns the lines that contain a text, and discards all lines.
func (l *logLines) lines(with string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, with) {
			found = append(found, line)
		}
	}
	l.text.Reset()
	return found
}

// Each request has one log line, which names the operation, the caller and the outcome. It does not name the path,
// because IDs in paths may be personal data. Probes are logged at debug level.
func TestEachRequestHasOneLogLine(t *testing.T) {
	t.Parallel()
	var log logLines
	o := serveWith(t, settings{log: &log}).organization()
	alice := o.as("alice", auth.Admin)
	stranger := caller{organization: o, key: "pk_0000000000.guess"}
	for name, test := range map[string]struct {
		caller       caller
		method, path string
		with, wants  []string
	}{
		"answered": {alice, http.MethodGet, "/api/me/", nil, []string{
			"level=INFO", "operation=getMe", "route=/api/me/", "status=200", "organization_id=" + o.id.String(), "key_id=", "address=127.0.0.1", "duration_ms=", "bytes=",
		}},
		"refused": {alice, http.MethodGet, "/api/contacts/alice@example.com/", nil, []string{
			"level=INFO", "operation=getContact", "route=/api/contacts/{contactId}/", "status=404", "error=not_found", "err=", "organization_id=" + o.id.String(),
		}},
		"without a valid key": {stranger, http.MethodGet, "/api/me/", nil, []string{"status=401", "error=unauthorized", "key_prefix=pk_0000000000"}},
		"no such path":        {alice, http.MethodGet, "/api/contacts/alice@example.com/secrets/" + strings.Repeat("x", 60000), nil, []string{"status=404", "route=/api/contacts/…"}},
		"probe":               {alice, http.MethodGet, "/healthz", nil, []string{"level=DEBUG", "operation=getHealth", "status=200"}},
		"the caller's ID":     {alice, http.MethodGet, "/api/me/", []string{"X-Request-Id", "my-17"}, []string{"caller_request_id=my-17", "request_id=0"}},
		"an agent":            {alice, http.MethodGet, "/api/me/", []string{"User-Agent", strings.Repeat("a", 60000)}, []string{"agent=aaa"}},
	} {
		log.lines("")
		var options []option
		if test.with != nil {
			options = append(options, withHeader(test.with[0], test.with[1]))
		}
		test.caller.call(test.method, test.path, nil, options...)
		lines := log.lines("request_id=")
		if len(lines) != 1 {
			t.Errorf("%s: %d lines: %.500s", name, len(lines), lines)
			continue
		}
		for _, want := range test.wants {
			if !strings.Contains(lines[0], want) {
				t.Errorf("%s: %q is not in %.500s", name, want, lines[0])
			}
		}
		if len(lines[0]) > 1000 || strings.Contains(lines[0], "alice@") || strings.Contains(lines[0], "guess") {
			t.Errorf("%s: the line is %.2000s", name, lines[0])
		}
	}
}
