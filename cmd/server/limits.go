package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/internal/wsapi"
)

func parseRateLimits(list string) (map[string]int, error) {
	if strings.TrimSpace(list) == "0" {
		limits := maps.Clone(defaultRateLimits)
		for class := range limits {
			limits[class] = 0
		}
		return limits, nil
	}
	return parseLimits(list, defaultRateLimits, "class")
}

func parseReplyLimits(list string) (map[string]int, error) {
	return parseLimits(list, defaultReplyLimits, "limit")
}

func parseSocketLimits(list string) (map[string]int, error) {
	limits, err := parseLimits(list, defaultSocketLimits, "limit")
	if err == nil && limits["queue"] == 0 {
		err = errors.New("the queue must have room for 1 or more")
	}
	return limits, err
}

func parseSocketTimes(list string) (map[string]time.Duration, error) {
	times, err := parsePairs(list, defaultSocketTimes, "time", func(name, text string) (time.Duration, string) {
		duration, err := time.ParseDuration(text)
		if err == nil && (duration >= time.Second || duration == 0 && name == "idle") {
			return duration, ""
		}
		return 0, fmt.Sprintf("the time %q of %s is not a duration of at least a second, such as 25s", text, name)
	})
	return times, err
}

// parseLimits reads name=number pairs.
func parseLimits(list string, defaults map[string]int, kind string) (map[string]int, error) {
	return parsePairs(list, defaults, kind, func(name, text string) (int, string) {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return 0, fmt.Sprintf("the limit %q of %s is not a number, 0 or more", text, name)
		}
		return int(limit), ""
	})
}

// parsePairs reads name=value pairs, separated by commas, over the defaults, which say
// what names there are. kind is what a name stands for; parse reads a value, or says
// what is wrong with it.
func parsePairs[V any](list string, defaults map[string]V, kind string, parse func(name, text string) (value V, mistake string)) (map[string]V, error) {
	values := maps.Clone(defaults)
	var mistakes []string
	named := map[string]bool{}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, text, _ := strings.Cut(item, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		if _, known := defaults[name]; !known {
			mistakes = append(mistakes, fmt.Sprintf("there is no %s %q, only %s", kind, name, enumerated(defaults)))
			continue
		}
		if named[name] {
			mistakes = append(mistakes, fmt.Sprintf("the %s %q is named twice", kind, name))
		}
		named[name] = true
		value, mistake := parse(name, text)
		if mistake != "" {
			mistakes = append(mistakes, mistake)
			continue
		}
		values[name] = value
	}
	return values, joined(mistakes)
}

// enumerated lists the names in a sentence.
func enumerated[V any](values map[string]V) string {
	names := slices.Sorted(maps.Keys(values))
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// socketLimits are those of the configuration, as the sockets take them.
func (c config) socketLimits() wsapi.Limits {
	return wsapi.Limits{
		PerUser:      c.SocketLimits["user"],
		PerAddress:   c.SocketLimits["address"],
		Visitors:     c.SocketLimits["visitors"],
		PingInterval: c.SocketTimes["ping"],
		PongTimeout:  c.SocketTimes["pong"],
		WriteTimeout: c.SocketTimes["write"],
		IdleTimeout:  c.SocketTimes["idle"],
	}
}
