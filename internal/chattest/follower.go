package chattest

import (
	"strings"
	"testing"
	"time"

	"parley/internal/chat"
	"parley/internal/reply"
)

// Follower follows a reply and checks that its text is consistent with its positions.
type Follower struct {
	t      *testing.T
	reply  *reply.Reply
	At     reply.Position
	Text   string
	Deltas int
	Resets int
}

// Follow returns a follower of a reply that has no text yet.
func (c *Cluster) Follow(r *reply.Reply) *Follower {
	return &Follower{t: c.t, reply: r, At: r.Start()}
}

// Resume follows the run of a message on an instance.
func (c *Cluster) Resume(d *Domain, sent chat.Sent) *Follower {
	c.t.Helper()
	r, err := d.Resume(c.t.Context(), c.Caller, sent.RunID.String())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.Follow(r)
}

// Next waits for the next chunk. It returns the outcome if the reply has ended.
func (f *Follower) Next() *reply.Outcome {
	f.t.Helper()
	chunk, err := f.reply.Follow(f.t.Context(), f.At, 30*time.Second)
	if err != nil || chunk.IsEmpty() {
		f.t.Fatalf("nothing follows %q: %v", f.Text, err)
	}
	if chunk.IsReset {
		f.Text = ""
		f.Resets++
	}
	if chunk.Delta != "" {
		f.Deltas++
	}
	f.Text, f.At = f.Text+chunk.Delta, chunk.After
	if len(f.Text) != f.At.Offset || strings.ToValidUTF8(f.Text, "") != f.Text {
		f.t.Errorf("text %q does not end at %v", f.Text, f.At)
	}
	return chunk.Outcome
}

// Outcome follows the reply to its end.
func (f *Follower) Outcome() *reply.Outcome {
	f.t.Helper()
	for {
		if outcome := f.Next(); outcome != nil {
			return outcome
		}
	}
}

// WantText follows the reply to its end and fails the test unless it completed with a text.
func (f *Follower) WantText(text string) {
	f.t.Helper()
	if outcome := f.Outcome(); f.Text != text || outcome.Content != text || outcome.State != "completed" {
		f.t.Errorf("got text %q and outcome %+v, want text %q", f.Text, outcome, text)
	}
}
