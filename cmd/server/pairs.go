package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/internal/chat"
	"parley/internal/ratelimit"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

// loadRateLimits also accepts 0, which disables all limits of the configuration.
func loadRateLimits(l *envLoader) ratelimit.Limits {
	const name = "PARLEY_RATE_LIMITS"
	if strings.TrimSpace(l.get(name)) == "0" {
		return ratelimit.Limits{Refusals: refusalsPerMinute}
	}
	limits := ratelimit.Limits{Messages: 60, History: 100, List: 30, Reads: 6000, Writes: 1200, Reports: 60, Refusals: refusalsPerMinute}
	loadPairs(l, name, "class", parseLimit, classesOf(&limits))
	return limits
}

func loadRateCeilings(l *envLoader) ratelimit.Limits {
	ceilings := ratelimit.Limits{Messages: 6000, History: 10_000, List: 3000, Reads: 60_000, Writes: 12_000, Reports: 600}
	loadPairs(l, "PARLEY_RATE_CEILINGS", "class", parseLimit, classesOf(&ceilings))
	return ceilings
}

// classesOf returns the limits of the rate classes by name.
func classesOf(limits *ratelimit.Limits) map[string]*int {
	return map[string]*int{
		"messages": &limits.Messages, "history": &limits.History, "list": &limits.List,
		"reads": &limits.Reads, "writes": &limits.Writes, "reports": &limits.Reports,
	}
}

func loadReplyLimits(l *envLoader) replyLimits {
	limits := replyLimits{Instance: 512, Organization: 256}
	loadPairs(l, "PARLEY_REPLY_LIMITS", "limit", parseLimit, map[string]*int{
		"instance": &limits.Instance, "organization": &limits.Organization,
	})
	return limits
}

func loadMessageLimits(l *envLoader) messageLimits {
	limits := messageLimits{Characters: chat.MaxContent, Anonymous: visit.DefaultMaxContent}
	loadPairs(l, "PARLEY_MESSAGE_LIMITS", "limit", parseMessageLimit, map[string]*int{
		"characters": &limits.Characters, "anonymous": &limits.Anonymous,
	})
	return limits
}

func parseMessageLimit(name, text string) (int, error) {
	limit, err := parseLimit(name, text)
	if err != nil || limit < 1 || limit > chat.MaxContent {
		return 0, fmt.Errorf("the value %q of %s must be a number from 1 to %d", text, name, chat.MaxContent)
	}
	return limit, nil
}

func loadSocketLimits(l *envLoader) (limits wsapi.Limits, queue int) {
	limits = wsapi.Limits{
		PerUser: 100, PerAddress: 1000, Visitors: 50,
		PingInterval: 25 * time.Second, PongTimeout: 20 * time.Second, WriteTimeout: 10 * time.Second,
	}
	queue = 64
	loadPairs(l, "PARLEY_SOCKET_LIMITS", "limit", parseLimit, map[string]*int{
		"user": &limits.PerUser, "address": &limits.PerAddress, "visitors": &limits.Visitors, "queue": &queue,
	})
	if queue == 0 {
		l.check("PARLEY_SOCKET_LIMITS", errors.New("queue must be at least 1"))
	}
	loadPairs(l, "PARLEY_SOCKET_TIMES", "time", parseTimeout, map[string]*time.Duration{
		"ping": &limits.PingInterval, "pong": &limits.PongTimeout, "write": &limits.WriteTimeout, "idle": &limits.IdleTimeout,
	})
	return limits, queue
}

func loadVisitLimits(l *envLoader) visit.Limits {
	limits := visit.Limits{Visits: 10_000, VisitBytes: 256 << 10, Bytes: 64 << 20}
	loadPairs(l, "PARLEY_ANONYMOUS_LIMITS", "limit", parseLimit, map[string]*int{
		"visits": &limits.Visits, "visit_bytes": &limits.VisitBytes, "bytes": &limits.Bytes,
	})
	return limits
}

func parseLimit(name, text string) (int, error) {
	limit, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("the value %q of %s must be a number, 0 or more", text, name)
	}
	return int(limit), nil
}

func parseTimeout(name, text string) (time.Duration, error) {
	timeout, err := time.ParseDuration(text)
	if err == nil && (timeout >= time.Second || timeout == 0 && name == "idle") {
		return timeout, nil
	}
	return 0, fmt.Errorf("the value %q of %s must be a duration of at least 1s, such as 25s", text, name)
}

// loadPairs reads a variable of name=value pairs, separated by commas, into the fields of those names. A
// field that is not named keeps its value. kind is the noun for a name in errors, such as "class".
func loadPairs[V any](l *envLoader, variable, kind string, parse func(name, text string) (V, error), fields map[string]*V) {
	var problems []string
	seen := map[string]bool{}
	for item := range strings.SplitSeq(l.get(variable), ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, text, _ := strings.Cut(item, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		field := fields[name]
		if field == nil {
			problems = append(problems, fmt.Sprintf("unknown %s %q, must be one of %s", kind, name, strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		if seen[name] {
			problems = append(problems, fmt.Sprintf("the %s %q is set twice", kind, name))
		}
		seen[name] = true
		value, err := parse(name, text)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		*field = value
	}
	l.check(variable, joinProblems(problems))
}

// joinProblems returns one error for all problems of a variable, or nil if there are none.
func joinProblems(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}
