package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is read of a setting, written plainly, is read the same; its names are those that there are, and its values as the
// setting must be. What is refused is told in one line.
func FuzzLimits(f *testing.F) {
	for _, seed := range []string{
		"", "0", " 0 ", "messages=60,history=100,list=30", "messages=0", "messages=", "=60", "messages=60,messages=60", "messages=+6", "messages=2147483647", "messages=2147483648", "messages=-1", "messages=1e2", "Messages=1", ",,,",
		"user=100,address=1000,visitors=50,queue=64", "queue=0", "ping=25s,pong=20s,write=10s,idle=0", "ping=0", "ping=1ns", "ping=9999999h", "idle=1h30m", "instance=512,organization=256", "messages = 5 , list\t=\n7", "messages=６０", "a\nb=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		for name, parse := range map[string]func(string) (map[string]int, error){"rates": parseRateLimits, "replies": parseReplyLimits, "sockets": parseSocketLimits} {
			limits, err := parse(list)
			if err != nil {
				mustBeALine(t, name, list, err)
				continue
			}
			for _, limit := range limits {
				if limit < 0 || name == "sockets" && limits["queue"] < 1 {
					t.Fatalf("%s: %q is %v", name, list, limits)
				}
			}
			if again, err := parse(written(limits)); err != nil || !maps.Equal(again, limits) {
				t.Fatalf("%s: %q is %v, and that is %v: %v", name, list, limits, again, err)
			}
		}
		times, err := parseSocketTimes(list)
		if err != nil {
			mustBeALine(t, "times", list, err)
			return
		}
		for name, one := range times {
			if one < time.Second && (one != 0 || name != "idle") {
				t.Fatalf("times: %q is %v", list, times)
			}
		}
		if again, err := parseSocketTimes(written(times)); err != nil || !maps.Equal(again, times) {
			t.Fatalf("times: %q is %v, and that is %v: %v", list, times, again, err)
		}
	})
}

// Origins that are read are as browsers write them: read again they stay as they are.
func FuzzOrigins(f *testing.F) {
	for _, seed := range []string{"", "*", "https://www.example.com", "HTTPS://Shop.Example:443, http://a:80", "http://a/", "http://a?", "http://u@a", "http://[::1]:8080", "http://a:", "null", "http://*.a", "http://a:99999", "https://字.example", "http://a#", "http://%41"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		origins, err := parseOrigins(list)
		if err != nil {
			mustBeALine(t, "origins", list, err)
			return
		}
		again, err := parseOrigins(strings.Join(origins, ","))
		if err != nil || !slices.Equal(again, origins) {
			t.Fatalf("%q is %q, and that is %q: %v", list, origins, again, err)
		}
		for _, origin := range origins {
			if origin != strings.ToLower(origin) || strings.ContainsAny(strings.Replace(origin, "://", "", 1), " ,/@?#") {
				t.Fatalf("%q holds %q", list, origin)
			}
		}
	})
}

func mustBeALine(t *testing.T, what, list string, err error) {
	t.Helper()
	if text := err.Error(); text == "" || strings.Contains(text, "\n") {
		t.Fatalf("%s: of %q it says %q", what, list, text)
	}
}

func written[V any](values map[string]V) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, fmt.Sprintf("%s=%v", name, values[name]))
	}
	return strings.Join(pairs, ",")
}
