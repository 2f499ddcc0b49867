package httpapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

const sixDigits = "2006-01-02T15:04:05.000000Z"

// A message of the history has the fields of the reference, the additions of the contract, and the field names of the
// Conversations family.
func TestHistoryHasTheFieldsOfTheReference(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	sent := alice.post("/api/conversations/"+id+"/messages", object{"content": question, "metadata": object{"a": 1}})
	if sent["status"] != "delivered" || number(sent, "seq") != 1 || len(sent) != 5 {
		t.Errorf("sent: %v", sent)
	}
	alice.awaitRun(text(sent, "run_id"))
	o.as("staff", auth.Agent).sendMessage(id, "I am a person.")
	messages := alice.history(id)
	for i, want := range []struct{ sender, content string }{{"user", question}, {"bot", longAnswer}, {"agent", "I am a person."}} {
		got := messages[i]
		if got["sender"] != want.sender || got["content"] != want.content || number(got, "seq") != i+1 || len(got) != 7 {
			t.Errorf("message %d: %v", i+1, got)
		}
	}
	if messages[0]["id"] != sent["message_id"] || messages[0]["timestamp"] != sent["timestamp"] {
		t.Errorf("sent %v, returned %v", sent, messages[0])
	}
	// A message of the staff is not answered by the bot.
	if n := query[int](o.server, "SELECT count(*) FROM runs"); n != 1 {
		t.Errorf("there are %d runs", n)
	}
}

// The history is limited by number and by bounds, also combined. All bounds are exclusive, a lower bound reverses the
// direction, and has_more refers to that direction.
func TestHistoryIsLimited(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	times := []string{""}
	for i := 1; i <= 103; i++ {
		times = append(times, text(alice.sendMessage(id, fmt.Sprint("message ", i)), "timestamp"))
	}
	shifted := func(seq int, by time.Duration) string {
		at, err := time.Parse(time.RFC3339Nano, times[seq])
		if err != nil {
			t.Fatal(err)
		}
		return at.Add(by).Format(time.RFC3339Nano)
	}
	at, err := time.Parse(time.RFC3339Nano, times[50])
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := at.In(time.FixedZone("", 8*3600)).Format(time.RFC3339Nano) // the same time in another zone
	for _, c := range []struct {
		query       []string
		first, last int // 0: not set
		hasMore     bool
	}{
		{nil, 54, 103, true},
		{[]string{"limit=1"}, 103, 103, true},
		{[]string{"limit=100"}, 4, 103, true},
		{[]string{"limit=100", "before_seq=101"}, 1, 100, false},
		{[]string{"limit=100", "before_seq=102"}, 2, 101, true},
		{[]string{"before_seq=1"}, 0, 0, false},
		{[]string{"before_seq=0"}, 0, 0, false},
		{[]string{"before_seq=2"}, 1, 1, false},
		{[]string{"after_seq=0"}, 1, 50, true},
		{[]string{"after_seq=53"}, 54, 103, false},
		{[]string{"after_seq=52"}, 53, 102, true},
		{[]string{"after_seq=102"}, 103, 103, false},
		{[]string{"after_seq=103"}, 0, 0, false},
		{[]string{"after_seq=9223372036854775807"}, 0, 0, false},
		{[]string{"before_seq=9223372036854775807"}, 54, 103, true},
		{[]string{"after_seq=10", "before_seq=20", "limit=5"}, 11, 15, true},
		{[]string{"after_seq=10", "before_seq=16", "limit=5"}, 11, 15, false},
		{[]string{"after_seq=20", "before_seq=10"}, 0, 0, false},
		{[]string{"after_seq=10", "before_seq=11"}, 0, 0, false},
		{[]string{"before=" + times[10], "limit=5"}, 5, 9, true},
		{[]string{"before=" + times[6], "limit=5"}, 1, 5, false},
		{[]string{"before=" + times[1]}, 0, 0, false},
		{[]string{"after=" + times[10], "limit=5"}, 11, 15, true},
		{[]string{"after=" + times[98], "limit=5"}, 99, 103, false},
		{[]string{"after=" + times[103]}, 0, 0, false},
		{[]string{"after=" + times[10], "before=" + times[16], "limit=5"}, 11, 15, false},
		{[]string{"after=" + times[10], "before=" + times[17], "limit=5"}, 11, 15, true},
		{[]string{"after=" + times[10], "before=" + times[11]}, 0, 0, false},
		{[]string{"after=" + times[10], "before_seq=13"}, 11, 12, false},
		{[]string{"after_seq=10", "before=" + times[13]}, 11, 12, false},
		{[]string{"after=" + times[10], "after_seq=12", "before_seq=15"}, 13, 14, false},
		{[]string{"after=" + times[12], "after_seq=10", "before_seq=15"}, 13, 14, false},
		{[]string{"before=" + times[12], "before_seq=10", "limit=2"}, 8, 9, true},
		{[]string{"before=" + times[10], "before_seq=12", "limit=2"}, 8, 9, true},
		// A bound between two microseconds.
		{[]string{"before=" + shifted(10, 300), "limit=1"}, 10, 10, true},
		{[]string{"before=" + shifted(10, -300), "limit=1"}, 9, 9, true},
		{[]string{"after=" + shifted(10, 300), "limit=1"}, 11, 11, true},
		{[]string{"after=" + shifted(10, -300), "limit=1"}, 10, 10, true},
		{[]string{"before=" + elsewhere, "limit=1"}, 49, 49, true},
		{[]string{"before=0001-01-01T00:00:00Z"}, 0, 0, false},
		{[]string{"after=0000-01-01T00:00:00Z", "limit=1"}, 1, 1, true},
		{[]string{"after=9999-12-31T23:59:59.999999999Z"}, 0, 0, false},
		{[]string{"before=9999-12-31T23:59:59-12:00", "limit=1"}, 103, 103, true},
	} {
		for i, parameter := range c.query {
			name, value, _ := strings.Cut(parameter, "=")
			c.query[i] = name + "=" + url.QueryEscape(value)
		}
		got := alice.get("/api/conversations/" + id + "/history?" + strings.Join(c.query, "&"))
		var want, have []int
		for seq := c.first; seq <= c.last && seq > 0; seq++ {
			want = append(want, seq)
		}
		for _, message := range objects(got, "messages") {
			have = append(have, number(message, "seq"))
		}
		if !slices.Equal(have, want) || got["has_more"] != c.hasMore {
			t.Errorf("%v: %v, has_more %v; want %d–%d, %v", c.query, have, got["has_more"], c.first, c.last, c.hasMore)
		}
	}
}

// Each message is strictly later than the one before. If the clock stands still or was set back, it is one
// microsecond later.
func TestTimesIncreaseWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	future := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	alice.exec("UPDATE sessions SET last_activity = $1", future)
	for i := 1; i <= 3; i++ {
		want := future.Add(time.Duration(i) * time.Microsecond).Format(sixDigits)
		if sent := alice.sendMessage(id, "Hi"); sent["timestamp"] != want {
			t.Errorf("message %d is at %v, want %s", i, sent["timestamp"], want)
		}
	}
	// The bounds distinguish messages that are a microsecond apart.
	at := future.Add(2 * time.Microsecond).Format(sixDigits)
	for query, want := range map[string]int{"before=" + at: 1, "after=" + at: 3} {
		messages := objects(alice.get("/api/conversations/"+id+"/history?"+query), "messages")
		if len(messages) != 1 || number(messages[0], "seq") != want {
			t.Errorf("%s: %v", query, messages)
		}
	}
}
