package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
	"parley/internal/clientaddr"
)

// Behind a trusted proxy, limits by address count the clients, with IPv6 networks of 64 bits as one client. Links
// have the scheme and host that the client used.
func TestAddressLimitsFollowTrustedProxies(t *testing.T) {
	t.Parallel()
	proxies, err := clientaddr.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	o := serveWith(t, settings{proxies: proxies, limits: map[string]int{"refusals": 3}}).organization()
	guess := func(from string, status int, code string) {
		t.Helper()
		stranger := caller{organization: o, key: "pk_0000000000.guess"}
		stranger.call(http.MethodGet, "/api/me/", nil, withHeader("X-Forwarded-For", from)).wantProblem(status, code, "")
	}
	for range 3 {
		guess("1.1.1.1, 203.0.113.7", 401, "unauthorized") // a client can only prepend to the header
	}
	guess("2.2.2.2, 203.0.113.7", 429, "rate_limited")
	guess("203.0.113.8", 401, "unauthorized")
	for i := range 3 {
		guess(fmt.Sprintf("2001:db8:1:2::%d", i), 401, "unauthorized")
	}
	guess("2001:db8:1:2:ffff::1", 429, "rate_limited")
	guess("2001:db8:1:3::1", 401, "unauthorized")

	admin := o.as("alice", auth.Admin)
	for i := range 2 {
		admin.call(http.MethodPost, "/api/contacts/", object{"name": fmt.Sprint("Contact ", i)}).wantStatus(201)
	}
	page := admin.call(http.MethodGet, "/api/contacts/?pageSize=1", nil,
		withHeader("X-Forwarded-For", "203.0.113.7"), withHeader("X-Forwarded-Proto", "https"), withHeader("X-Forwarded-Host", "chat.example.com")).wantStatus(200)
	if next := page["next"]; next == nil || !strings.HasPrefix(next.(string), "https://chat.example.com/api/contacts/?") {
		t.Errorf("next is %v", next)
	}
}

// Without trusted proxies, forwarding headers do not change links.
func TestForwardingHeadersOfUntrustedPeersAreIgnored(t *testing.T) {
	t.Parallel()
	s := serve(t)
	admin := s.organization().as("alice", auth.Admin)
	for i := range 2 {
		admin.call(http.MethodPost, "/api/contacts/", object{"name": fmt.Sprint("Contact ", i)}).wantStatus(201)
	}
	page := admin.call(http.MethodGet, "/api/contacts/?pageSize=1", nil,
		withHeader("X-Forwarded-Proto", "https"), withHeader("X-Forwarded-Host", "evil.example"), withHeader("Forwarded", "proto=https;host=evil.example"), withHeader("X-Forwarded-Ssl", "on")).wantStatus(200)
	if next := page["next"]; next == nil || !strings.HasPrefix(next.(string), s.url+"/api/contacts/?") {
		t.Errorf("next is %v, want it at %s", next, s.url)
	}
}
