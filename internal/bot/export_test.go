package bot

import (
	"context"

	"parley/gen/db"
)

// GenerateSlug derives a slug from a name.
func GenerateSlug(name string, isUnique bool) (string, error) { return generateSlug(name, isUnique) }

// IsSlug reports whether a chatbot may have the slug.
func IsSlug(slug string) bool { return checkSlug(slug) == nil }

// Chunks splits a text as EmitText does.
func Chunks(text string) []string { return chunks(text) }

// Column returns a script in its stored form.
func (s *Script) Column() ([]byte, error) { return s.toColumn() }

// PlayScript returns the reply of a stored script to a text, without delays, and the error that ends the reply. It
// returns false if no rule matches.
func PlayScript(column []byte, text string) (reply string, ok bool, err error) {
	rule, ok, err := matchingRule(db.Bot{Script: column}, text)
	if err != nil || !ok {
		return "", ok, err
	}
	rule.DelayMS, rule.SilentAfter = 0, nil
	err = rule.play(context.Background(), func(delta string) error { reply += delta; return nil })
	return reply, true, err
}
