package chat_test

import (
	"testing"

	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

func TestIdempotencyKeysExpireAfterADay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User(t, "alice")
	conversation := f.NewConversation(t, alice)
	send := func(key string) chat.Sent {
		t.Helper()
		message := chat.NewMessage{Content: "Hello", IdempotencyKey: &store.IdempotencyKey{Scope: "s", Key: key, Hash: []byte(key)}}
		sent, err := f.Send(t.Context(), alice, conversation, message)
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	old, young := send("old"), send("young")
	for key, age := range map[string]string{"old": "24 hours 1 minute", "young": "23 hours 59 minutes"} {
		f.exec(t, "UPDATE idempotency_keys SET created_at = clock_timestamp() - $1::interval WHERE key = $2", age, key)
	}
	f.Instance(t, chattest.Config{}) // the instance deletes expired keys when it starts
	chattest.Eventually(t, "the old key has expired", func() bool { return !send("old").IsReplayed })
	if repeat := send("young"); !repeat.IsReplayed || repeat.MessageID != young.MessageID || repeat.MessageID == old.MessageID {
		t.Errorf("repeat under the young key returned %+v, want the first message", repeat)
	}
}
