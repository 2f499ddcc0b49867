package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A valid list of limits or timeouts within bounds round-trips through its canonical form. An invalid one is reported in
// one line.
func FuzzLimits(f *testing.F) {
	for _, seed := range []string{
		"", "0", " 0 ", "messages=60,history=100,list=30", "messages=0", "messages=", "=60", "messages=60,messages=60", "messages=+6", "messages=2147483647", "messages=2147483648", "messages=-1", "messages=1e2", "Messages=1", ",,,",
		"user=100,address=1000,visitors=50,queue=64", "queue=0", "ping=25s,pong=20s,write=10s,idle=0", "ping=0", "ping=1ns", "ping=9999999h", "idle=1h30m", "instance=512,organization=256", "messages = 5 , list\t=\n7", "messages=６０", "a\nb=1",
	} {
		f.Add(seed)
	}
	// Each format encodes the values of a variable, and fails for a value out of bounds.
	formats := map[string]func(config) (string, bool){
		"PARLEY_RATE_LIMITS": func(c config) (string, bool) {
			l := c.RateLimits
			return fmt.Sprintf("messages=%d,history=%d,list=%d,reads=%d,writes=%d,reports=%d", l.Messages, l.History, l.List, l.Reads, l.Writes, l.Reports),
				min(l.Messages, l.History, l.List, l.Reads, l.Writes, l.Reports) >= 0
		},
		"PARLEY_REPLY_LIMITS": func(c config) (string, bool) {
			l := c.Replies
			return fmt.Sprintf("instance=%d,organization=%d", l.Instance, l.Organization), min(l.Instance, l.Organization) >= 0
		},
		"PARLEY_MESSAGE_LIMITS": func(c config) (string, bool) {
			l := c.Messages
			return fmt.Sprintf("characters=%d,anonymous=%d", l.Characters, l.Anonymous),
				min(l.Characters, l.Anonymous) >= 1 && max(l.Characters, l.Anonymous) <= 100_000
		},
		"PARLEY_SOCKET_LIMITS": func(c config) (string, bool) {
			l := c.Sockets
			return fmt.Sprintf("user=%d,address=%d,visitors=%d,queue=%d", l.PerUser, l.PerAddress, l.Visitors, c.SocketQueue),
				min(l.PerUser, l.PerAddress, l.Visitors) >= 0 && c.SocketQueue >= 1
		},
		"PARLEY_SOCKET_TIMES": func(c config) (string, bool) {
			l := c.Sockets
			return fmt.Sprintf("ping=%s,pong=%s,write=%s,idle=%s", l.PingInterval, l.PongTimeout, l.WriteTimeout, l.IdleTimeout),
				min(l.PingInterval, l.PongTimeout, l.WriteTimeout) >= time.Second && (l.IdleTimeout == 0 || l.IdleTimeout >= time.Second)
		},
	}
	f.Fuzz(func(t *testing.T, list string) {
		for variable, format := range formats {
			parsed, err := loadConfig(environment{variable: list}, true, "")
			if err != nil {
				expectOneLine(t, variable, list, err)
				continue
			}
			canonical, isValid := format(parsed)
			if !isValid {
				t.Fatalf("%s: %q is accepted as %s", variable, list, canonical)
			}
			if again, err := loadConfig(environment{variable: canonical}, true, ""); err != nil || !reflect.DeepEqual(again, parsed) {
				t.Fatalf("%s: %q is %+v, and %s is %+v: %v", variable, list, parsed, canonical, again, err)
			}
		}
	})
}

// Parsed origins have the form that browsers send, and parse to themselves.
func FuzzOrigins(f *testing.F) {
	for _, seed := range []string{"", "*", "https://www.example.com", "HTTPS://Shop.Example:443, http://a:80", "http://a/", "http://a?", "http://u@a", "http://[::1]:8080", "http://a:", "null", "http://*.a", "http://a:99999", "https://字.example", "http://a#", "http://%41"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		origins, err := parseOrigins(list)
		if err != nil {
			expectOneLine(t, "origins", list, err)
			return
		}
		again, err := parseOrigins(strings.Join(origins, ","))
		if err != nil || !slices.Equal(again, origins) {
			t.Fatalf("%q parses to %q, and that to %q: %v", list, origins, again, err)
		}
		for _, origin := range origins {
			if origin != strings.ToLower(origin) || strings.ContainsAny(strings.Replace(origin, "://", "", 1), " ,/@?#") {
				t.Fatalf("%q parses to the invalid origin %q", list, origin)
			}
		}
	})
}

func expectOneLine(t *testing.T, what, list string, err error) {
	t.Helper()
	if text := err.Error(); text == "" || strings.Contains(text, "\n") {
		t.Fatalf("%s: the error of %q is not one line: %q", what, list, text)
	}
}
