package realtime

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// textTTL is how long the text of an attempt is kept after its last append.
const textTTL = 10 * time.Minute

// TextKey identifies the text that one attempt at a run has written so far. An attempt has
// one writer; any instance may read.
type TextKey struct {
	Run     uuid.UUID
	Attempt int
}

func (k TextKey) key() string { return "parley:text:" + k.Run.String() + ":" + strconv.Itoa(k.Attempt) }

// TextAppend is an append to a text at an offset in bytes. Offset 0 replaces the text.
type TextAppend struct {
	TextKey

	Offset int
	Text   string
}

// appendText appends only if the stored text ends at the offset.
var appendText = `
if redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('APPEND', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

// AppendTexts appends to texts in one round trip. applied reports for each append whether it was applied. It is not
// applied if the stored text has another length, because Redis has lost data. The writer must then write the text
// from offset 0, which always succeeds.
func (r *Redis) AppendTexts(ctx context.Context, appends []TextAppend) (applied []bool, err error) {
	applied = make([]bool, len(appends))
	err = r.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		answers := make([]*redis.Cmd, len(appends))
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, a := range appends {
				if a.Offset == 0 {
					pipe.Set(ctx, a.key(), a.Text, textTTL)
					applied[i] = true
				} else {
					answers[i] = pipe.Eval(ctx, appendText, []string{a.key()}, a.Offset, a.Text, textTTL.Milliseconds())
				}
			}
			return nil
		})
		for i, answer := range answers {
			if answer != nil && err == nil {
				applied[i], err = answer.Bool()
			}
		}
		return err
	})
	return applied, err
}

// TextPosition is the offset in bytes that a reader of a text has reached.
type TextPosition struct {
	TextKey

	Offset int
}

// ReadTexts returns the part of each text beyond the reader's position, in one round trip, cut to whole characters.
// It is empty if there is no more text, or the text does not exist.
func (r *Redis) ReadTexts(ctx context.Context, positions []TextPosition) ([]string, error) {
	texts := make([]string, len(positions))
	err := r.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		answers := make([]*redis.StringCmd, len(positions))
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, position := range positions {
				answers[i] = pipe.GetRange(ctx, position.key(), int64(position.Offset), -1)
			}
			return nil
		})
		for i, answer := range answers {
			texts[i] = wholeCharacters(answer.Val())
		}
		return err
	})
	return texts, err
}

// DeleteTexts deletes texts that nobody reads anymore.
func (r *Redis) DeleteTexts(ctx context.Context, texts []TextKey) error {
	keys := make([]string, len(texts))
	for i, text := range texts {
		keys[i] = text.key()
	}
	return r.Do(ctx, func(ctx context.Context, client *redis.Client) error { return client.Unlink(ctx, keys...).Err() })
}

// wholeCharacters cuts an incomplete UTF-8 sequence off the end of a text.
func wholeCharacters(text string) string {
	for cut := 1; cut < utf8.UTFMax && cut <= len(text); cut++ {
		if last := text[len(text)-cut]; utf8.RuneStart(last) {
			if !utf8.FullRuneInString(text[len(text)-cut:]) {
				return text[:len(text)-cut]
			}
			break
		}
	}
	return text
}
