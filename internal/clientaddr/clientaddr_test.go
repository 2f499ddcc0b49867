package clientaddr_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"parley/internal/clientaddr"
)

func TestOnlyTrustedProxiesDescribeTheClient(t *testing.T) {
	t.Parallel()
	const trusted = "10.0.0.0/8, 192.0.2.7, fd00::/8"
	for name, test := range map[string]struct {
		peer                        string
		headers                     string // "Name: value" lines
		wantAddr, wantProto, wantOn string
	}{
		"no headers": {"203.0.113.9:1", "", "203.0.113.9:1", "", "parley.test"},
		"an untrusted peer": {
			"203.0.113.9:1", "X-Forwarded-For: 198.51.100.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.test\nForwarded: for=198.51.100.2\nX-Forwarded-Ssl: on",
			"203.0.113.9:1", "", "parley.test",
		},
		"one proxy":                      {"10.0.0.1:1", "X-Forwarded-For: 198.51.100.1\nX-Forwarded-Proto: https", "198.51.100.1:0", "https", "parley.test"},
		"a proxy by its own address":     {"192.0.2.7:1", "X-Forwarded-For: 198.51.100.1", "198.51.100.1:0", "", "parley.test"},
		"an IPv4-mapped peer":            {"[::ffff:10.0.0.1]:1", "X-Forwarded-For: 198.51.100.1", "198.51.100.1:0", "", "parley.test"},
		"an IPv6 peer":                   {"[fd00::1]:1", "X-Forwarded-For: 2001:db8::5", "[2001:db8::5]:0", "", "parley.test"},
		"what the client wrote is left":  {"10.0.0.1:1", "X-Forwarded-For: 1.1.1.1, 198.51.100.1", "198.51.100.1:0", "", "parley.test"},
		"two proxies":                    {"10.0.0.1:1", "X-Forwarded-For: 1.1.1.1, 198.51.100.1, 10.0.0.2\nX-Forwarded-Proto: https,http", "198.51.100.1:0", "https", "parley.test"},
		"several header lines":           {"10.0.0.1:1", "X-Forwarded-For: 198.51.100.1\nX-Forwarded-For: 10.0.0.2", "198.51.100.1:0", "", "parley.test"},
		"a port":                         {"10.0.0.1:1", "X-Forwarded-For: 198.51.100.1:4711", "198.51.100.1:0", "", "parley.test"},
		"IPv6 in brackets with a port":   {"10.0.0.1:1", "X-Forwarded-For: [2001:db8::5]:4711", "[2001:db8::5]:0", "", "parley.test"},
		"all trusted":                    {"10.0.0.1:1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2", "10.0.0.3:0", "", "parley.test"},
		"an unknown client":              {"10.0.0.1:1", "X-Forwarded-For: unknown", "10.0.0.1:0", "", "parley.test"},
		"garbage beyond a proxy":         {"10.0.0.1:1", "X-Forwarded-For: 198.51.100.1, <script>, 10.0.0.2", "10.0.0.2:0", "", "parley.test"},
		"an empty header":                {"10.0.0.1:1", "X-Forwarded-For: ", "10.0.0.1:0", "", "parley.test"},
		"the host":                       {"10.0.0.1:1", "X-Forwarded-For: 198.51.100.1\nX-Forwarded-Host: chat.example.com", "198.51.100.1:0", "", "chat.example.com"},
		"a host that is not one":         {"10.0.0.1:1", "X-Forwarded-Host: user@evil.test/path", "10.0.0.1:0", "", "parley.test"},
		"a scheme that is not one":       {"10.0.0.1:1", "X-Forwarded-Proto: javascript", "10.0.0.1:0", "", "parley.test"},
		"Forwarded":                      {"10.0.0.1:1", "Forwarded: for=198.51.100.1;proto=https;host=chat.example.com", "198.51.100.1:0", "https", "chat.example.com"},
		"Forwarded wins":                 {"10.0.0.1:1", "Forwarded: for=198.51.100.1\nX-Forwarded-For: 198.51.100.2", "198.51.100.1:0", "", "parley.test"},
		"Forwarded with quotes":          {"10.0.0.1:1", `Forwarded: For="[2001:db8::5]:4711"; Proto=HTTPS`, "[2001:db8::5]:0", "https", "parley.test"},
		"Forwarded by two proxies":       {"10.0.0.1:1", "Forwarded: for=1.1.1.1;proto=http, for=198.51.100.1;proto=https, for=10.0.0.2;proto=http", "198.51.100.1:0", "https", "parley.test"},
		"Forwarded with a comma quoted":  {"10.0.0.1:1", `Forwarded: for=198.51.100.1;host="a,b", for=10.0.0.2`, "198.51.100.1:0", "", "parley.test"},
		"Forwarded, obfuscated":          {"10.0.0.1:1", "Forwarded: for=_hidden;proto=https", "10.0.0.1:0", "https", "parley.test"},
		"Forwarded, obfuscated upstream": {"10.0.0.1:1", "Forwarded: for=_hidden;proto=https, for=10.0.0.2;proto=http", "10.0.0.2:0", "https", "parley.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxies, err := clientaddr.Parse(trusted)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "http://parley.test/", http.NoBody)
			r.RemoteAddr = test.peer
			for line := range strings.Lines(test.headers) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				r.Header.Add(name, value)
			}
			proxies.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.RemoteAddr != test.wantAddr || r.Header.Get("X-Forwarded-Proto") != test.wantProto || r.Host != test.wantOn {
					t.Errorf("got %s, %q, %s; want %s, %q, %s", r.RemoteAddr, r.Header.Get("X-Forwarded-Proto"), r.Host, test.wantAddr, test.wantProto, test.wantOn)
				}
				for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Ssl"} {
					if r.Header.Get(name) != "" {
						t.Errorf("%s was passed on", name)
					}
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
		})
	}
}

func TestParseReportsEveryInvalidItem(t *testing.T) {
	t.Parallel()
	_, err := clientaddr.Parse("10.0.0.0/8,proxy.example.com,10.0.0.0/99")
	if err == nil || !strings.Contains(err.Error(), `"proxy.example.com"`) || !strings.Contains(err.Error(), `"10.0.0.0/99"`) {
		t.Errorf("got %v", err)
	}
}

func TestIPv6AddressesAreCountedByTheirNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:5":          "192.0.2.1",
		"[::ffff:192.0.2.1]:5": "192.0.2.1",
		"[2001:db8:1:2::5]:5":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ff::]:": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":     "fe80::/64",
		"@":                    "@",
	} {
		if got := clientaddr.Key(remote); got != want {
			t.Errorf("Key(%q) = %q, want %q", remote, got, want)
		}
	}
}
