// Package shortcuts names the faster paths that stand beside plain ones. Each gives the
// same answers as its plain path, which stays and takes over wherever the shortcut is
// off; the tests run both ways.
package shortcuts

import (
	"fmt"
	"strings"
)

// Set says which shortcuts are taken; the zero Set takes none.
type Set struct {
	// Send lets messages that are sent at once share their commits (internal/chat).
	Send bool
	// Keys lets a key be looked up once a second instead of with each request
	// (internal/auth).
	Keys bool
	// History lets a conversation's history be written as JSON straight from its rows
	// (internal/httpapi).
	History bool
	// Counts lets the totals of lists be read from counters (internal/chat,
	// internal/records).
	Counts bool
	// Search lets keywords be looked up in an index over the texts (internal/chat); off,
	// the index over the messages is dropped (internal/store).
	Search bool
}

// All takes every shortcut.
func All() Set { return Set{Send: true, Keys: true, History: true, Counts: true, Search: true} }

// ByName tells of each shortcut, by the name that Parse knows it by, whether it is taken.
func (s Set) ByName() map[string]bool {
	taken := make(map[string]bool)
	for name, field := range s.fields() {
		taken[name] = *field
	}
	return taken
}

func (s *Set) fields() map[string]*bool {
	return map[string]*bool{"send": &s.Send, "keys": &s.Keys, "history": &s.History, "counts": &s.Counts, "search": &s.Search}
}

// Parse reads what the operator has set: nothing is all of them, "off" none, and
// name=on or name=off, separated by commas, says it of one.
func Parse(text string) (Set, error) {
	set := All()
	if strings.TrimSpace(text) == "off" {
		return Set{}, nil
	}
	byName := set.fields()
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, state, _ := strings.Cut(item, "=")
		isTaken := byName[name]
		if isTaken == nil || state != "on" && state != "off" {
			return Set{}, fmt.Errorf("%q is none of send, keys, history, counts and search with =on or =off, nor off alone", item)
		}
		*isTaken = state == "on"
	}
	return set, nil
}
