package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// varyingHeaders are headers that differ between two equal requests.
var varyingHeaders = []string{"Date", "X-Request-Id", "Ratelimit", "Content-Length", "Transfer-Encoding"}

// HEAD is accepted wherever GET is, with the same rules, status and headers, and without a body.
func TestHeadIsAnsweredLikeGet(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	o.awaitReplies()
	paths := []string{"/nothing", "/api/me", "/api/conversations/start", "/docs/swagger-ui.css", "/api/conversations/?keyword=", "/api/runs/x/"}
	for _, op := range operations {
		if op.method == http.MethodGet {
			paths = append(paths, op.pathOf(resources))
		}
	}
	if len(paths) < 40 {
		t.Fatalf("only %d paths were tested", len(paths))
	}
	for _, path := range paths {
		for name, key := range map[string][]option{
			"a key": {withHeader("Authorization", "Api-Key "+admin.key)}, "a wrong key": {withHeader("Authorization", "Api-Key x.y")}, "none": nil,
		} {
			key = append(key, withHeader("Accept-Encoding", "identity")) // Go requests gzip for GET only
			get, head := s.call(http.MethodGet, path, nil, key...), s.call(http.MethodHead, path, nil, key...)
			if head.status != get.status || len(head.body) > 0 {
				t.Errorf("%s with %s: GET is %d, HEAD %d %q", path, name, get.status, head.status, head.body)
			}
			for header, values := range get.header {
				if !slices.Contains(varyingHeaders, header) && !slices.Equal(head.header[header], values) {
					t.Errorf("%s with %s: %s of GET is %v, of HEAD %v", path, name, header, values, head.header[header])
				}
			}
		}
	}
	// A small body has a Content-Length.
	if get, head := s.call(http.MethodGet, "/healthz", nil), s.call(http.MethodHead, "/healthz", nil); head.header.Get("Content-Length") != get.header.Get("Content-Length") {
		t.Errorf("the lengths are %v and %v", get.header, head.header)
	}
}

// HEAD of a stream ends after the headers, even during the reply. HEAD of an export exports nothing.
func TestHeadOfAStreamHasNoEffect(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	release := o.blockReplies()
	sent := admin.post("/api/conversations/"+admin.startConversation()+"/messages", object{"content": question})
	events := admin.call(http.MethodHead, "/api/runs/"+text(sent, "run_id")+"/events/", nil)
	if events.status != http.StatusOK || events.header.Get("Content-Type") != "text/event-stream" || events.header.Get("X-Run-Id") != sent["run_id"] {
		t.Errorf("%d %v", events.status, events.header)
	}
	for _, format := range []string{"export-excel/", "export/"} {
		file := admin.call(http.MethodHead, "/api/chatbots/parley/records/"+format+withDays(""), nil)
		if file.status != http.StatusOK || !strings.HasPrefix(file.header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %d %v", format, file.status, file.header)
		}
		unknown := admin.call(http.MethodHead, "/api/chatbots/parley/records/"+format+withDays("conversation=x"), nil)
		if unknown.status != http.StatusNotFound {
			t.Errorf("%s of an unknown conversation: %d", format, unknown.status)
		}
	}
	if exports := query[int](o.server, "SELECT count(*) FROM audit_events WHERE action LIKE '%export%'"); exports != 0 {
		t.Errorf("%d exports are recorded", exports)
	}
	release()
}

// HEAD counts towards the rate limit of its operation.
func TestHeadCountsTowardsTheRateLimit(t *testing.T) {
	t.Parallel()
	alice := serveWith(t, settings{limits: map[string]int{"list": 2}}).organization().as("alice", auth.Chat)
	alice.call(http.MethodHead, "/api/conversations", nil)
	alice.call(http.MethodHead, "/api/conversations/", nil)
	if got := alice.call(http.MethodHead, "/api/conversations", nil); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", got.status, got.header)
	}
}
