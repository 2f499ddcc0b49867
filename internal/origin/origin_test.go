package origin_test

import (
	"strings"
	"testing"

	"parley/internal/origin"
)

// An entry is converted to the form that browsers send.
func TestParseReturnsWhatBrowsersSend(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"https://www.example.com":       "https://www.example.com",
		" HTTPS://A.Example:443/ ":      "https://a.example",
		"http://b.example:080":          "http://b.example",
		"http://b.example:443":          "http://b.example:443",
		"https://例え.jp":                 "https://xn--r8jz45g.jp",
		"https://例え.JP:8443/":           "https://xn--r8jz45g.jp:8443",
		"https://BÜCHER.example":        "https://xn--bcher-kva.example",
		"https://faß.example":           "https://xn--fa-hia.example",
		"https://ＦＵＬＬ.example":          "https://full.example",
		"https://例え。jp":                 "https://xn--r8jz45g.jp",
		"https://xn--r8jz45g.jp":        "https://xn--r8jz45g.jp",
		"https://*.例え.jp":               "https://*.xn--r8jz45g.jp",
		"https://*.Example.com:*":       "https://*.example.com:*",
		"http://localhost:*":            "http://localhost:*",
		"http://127.0.0.1:3000":         "http://127.0.0.1:3000",
		"http://[0:0:0:0:0:0:0:1]:3000": "http://[::1]:3000",
		"https://my_app--x.example":     "https://my_app--x.example",
		"https://a.example.":            "https://a.example.",
		"capacitor://localhost":         "capacitor://localhost",
		"Ionic://Localhost":             "ionic://localhost",
		"tauri://localhost":             "tauri://localhost",
		"https://tauri.localhost":       "https://tauri.localhost",
		"app://-":                       "app://-",
		"app://":                        "app://",
		"file://":                       "file://",
		"file:///":                      "file://",
		"null":                          "null",
		"*":                             "*",
		"chrome-extension://abcdefghijklmnopabcdefghijklmnop":  "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
		"moz-extension://5d1c7a5e-0b1a-4f5e-9d6c-0a3f2b1c4d5e": "moz-extension://5d1c7a5e-0b1a-4f5e-9d6c-0a3f2b1c4d5e",
		"moz-extension://*":         "moz-extension://*",
		"vscode-webview://1a2b3c4d": "vscode-webview://1a2b3c4d",
	} {
		got, err := origin.Parse(entry)
		if got != want || err != nil {
			t.Errorf("Parse(%q) = %q, %v, want %q", entry, got, err, want)
		}
		if again, err := origin.Parse(got); again != got || err != nil {
			t.Errorf("Parse(%q) = %q, %v, want it unchanged", got, again, err)
		}
	}
}

// An entry that cannot match any page is refused with a reason.
func TestParseRefusesWhatCannotMatch(t *testing.T) {
	t.Parallel()
	for entry, reason := range map[string]string{
		"":                         "must be an origin",
		"www.example.com":          "must be an origin",
		"localhost:3000":           "must be an origin",
		"*.example.com":            "must be an origin",
		"https://":                 "must be an origin",
		"https:///":                "must be an origin",
		"://a.example":             "must be an origin",
		"ht tp://a.example":        "must be an origin",
		"https://a.example/chat":   "must not have a path",
		"https://a.example?q":      "must not have a path",
		"https://a.example#f":      "must not have a path",
		"file:///home/page.html":   "must not have a path",
		"https://u@a.example":      "must not have a user name",
		"https://u:p@a.example":    "must not have a user name",
		"https://a.example:":       "must have a port",
		"https://a.example:0":      "must have a port",
		"https://a.example:99999":  "must have a port",
		"https://a.example:x":      "must have a port",
		"https://a b.example":      "must have a valid host",
		"https://a..example":       "must have a valid host",
		"https://.example":         "must have a valid host",
		"https://a.example,b":      "must have a valid host",
		"https://xn--a.example":    "must have a valid host",
		"https://[::1":             "must have a valid host",
		"https://[127.0.0.1]":      "must have a valid host",
		"http://127.1":             "must have an IP address",
		"http://0x7f000001":        "must have an IP address",
		"http://*.0.0.1":           "must have an IP address",
		"https://a.*.example":      "may have * only",
		"https://*example.com":     "may have * only",
		"https://*.*.example":      "may have * only",
		"wss://a.example":          "must be the origin of the page",
		"ftp://a.example":          "has a scheme that pages do not have",
		"data:text/html,x":         "allow null instead",
		"blob:https://a.example/1": "allow null instead",
		"about:blank":              "allow null instead",
	} {
		if got, err := origin.Parse(entry); err == nil || !strings.HasPrefix(err.Error(), reason) && !strings.HasSuffix(err.Error(), reason) {
			t.Errorf("Parse(%q) = %q, %v, want the reason %q", entry, got, err, reason)
		}
	}
	for _, entry := range []string{"*", "https://*.example.com", "http://localhost:*"} {
		if got, err := origin.ParseExact(entry); err == nil {
			t.Errorf("ParseExact(%q) = %q, want an error", entry, got)
		}
	}
}

// A * stands for exactly the labels, the host or the port in its place.
func TestIsAllowedMatchesWildcards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry, sent string
		want        bool
	}{
		{"https://a.example", "https://a.example", true},
		{"https://a.example", "HTTPS://A.example", true},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example.evil", false},
		{"https://*.example.com", "https://a.example.com", true},
		{"https://*.example.com", "https://a.b.example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://.example.com", false},
		{"https://*.example.com", "https://evilexample.com", false},
		{"https://*.example.com", "https://a.example.com.evil", false},
		{"https://*.example.com", "https://a.example.com:8443", false},
		{"https://*.example.com", "http://a.example.com", false},
		{"https://*.example.com:*", "https://a.example.com:8443", true},
		{"http://localhost:*", "http://localhost:5173", true},
		{"http://localhost:*", "http://localhost", true},
		{"http://localhost:*", "http://localhost.evil:80", false},
		{"http://[::1]:*", "http://[::1]:8080", true},
		{"http://[::1]", "http://[::1]:8080", false},
		{"moz-extension://*", "moz-extension://5d1c7a5e-0b1a-4f5e-9d6c-0a3f2b1c4d5e", true},
		{"moz-extension://*", "chrome-extension://abc", false},
		{"moz-extension://*", "moz-extension://", false},
		{"file://", "file://", true},
		{"null", "null", true},
		{"https://a.example", "null", false},
		{"*", "null", true},
		{"*", "", false},
	} {
		if got := origin.IsAllowed([]string{"https://other.example", c.entry}, c.sent); got != c.want {
			t.Errorf("IsAllowed(%q, %q) = %v", c.entry, c.sent, got)
		}
	}
}
