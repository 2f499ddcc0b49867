package realtime

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// textTime is how long a running text is kept since it last grew.
const textTime = 10 * time.Minute

// TextKey names a text that grows: what one attempt at a run has written.
type TextKey struct {
	Run     uuid.UUID
	Attempt int
}

func (k TextKey) key() string { return "parley:text:" + k.Run.String() + ":" + strconv.Itoa(k.Attempt) }

// Growth is the part of a text from an offset on.
type Growth struct {
	TextKey

	Offset int
	Text   string
}

// grow adds to a text, unless what is there is not what came before.
var grow = `
if redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('APPEND', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

// Grow adds to texts, in one go. It tells of each whether it is whole now; one that is
// not was lost meanwhile, is left as it is, and is to be written from offset 0: that
// is always taken.
func (l *Link) Grow(ctx context.Context, growths []Growth) (areWhole []bool, err error) {
	areWhole = make([]bool, len(growths))
	err = l.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		answers := make([]*redis.Cmd, len(growths))
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, one := range growths {
				if one.Offset == 0 {
					pipe.Set(ctx, one.key(), one.Text, textTime)
					areWhole[i] = true
				} else {
					answers[i] = pipe.Eval(ctx, grow, []string{one.key()}, one.Offset, one.Text, textTime.Milliseconds())
				}
			}
			return nil
		})
		for i, answer := range answers {
			if answer != nil && err == nil {
				areWhole[i], err = answer.Bool()
			}
		}
		return err
	})
	return areWhole, err
}

// Text is where a reader of a text has come to.
type Text struct {
	TextKey

	Offset int
}

// Read returns what each text has beyond an offset, in whole characters: nothing where
// there is no more, or no such text.
func (l *Link) Read(ctx context.Context, texts []Text) ([]string, error) {
	found := make([]string, len(texts))
	err := l.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		answers := make([]*redis.StringCmd, len(texts))
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, one := range texts {
				answers[i] = pipe.GetRange(ctx, one.key(), int64(one.Offset), -1)
			}
			return nil
		})
		for i, answer := range answers {
			found[i] = wholeCharacters(answer.Val())
		}
		return err
	})
	return found, err
}

// Forget removes texts that nobody needs any more.
func (l *Link) Forget(ctx context.Context, texts []TextKey) error {
	keys := make([]string, len(texts))
	for i, one := range texts {
		keys[i] = one.key()
	}
	return l.Do(ctx, func(ctx context.Context, client *redis.Client) error { return client.Unlink(ctx, keys...).Err() })
}

// wholeCharacters cuts off the beginning of a character at the end of a text.
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
