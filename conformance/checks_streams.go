package conformance

import (
	"net/http"
	"regexp"
	"slices"
	"time"
)

func streamChecks() []check {
	return []check{
		{name: "streams/form", holds: "A stream is text/event-stream, not kept, not to be buffered, of unnamed events with an id and one line of data, and one last event.", ask: streamHasItsForm},
		{name: "streams/not-buffered", holds: "The pieces of a reply come as they are written: nothing on the way buffers or merges them.", ask: streamIsNotBuffered},
		{name: "streams/not-compressed", holds: "A stream is not compressed on the way, which would hold events back.", ask: streamIsNotCompressed},
		{name: "streams/resume", holds: "A stream that broke goes on after the Last-Event-ID, without gap or duplicate.", ask: streamIsResumed},
		{name: "streams/hang-up", holds: "A caller that hangs up does not lose the reply.", ask: replyOutlivesItsCaller},
	}
}

var eventID = regexp.MustCompile(`^[1-9]\d*\.(0|[1-9]\d*)$`)

func streamHasItsForm(t *trial) {
	user := t.user()
	stream := user.askStream(askBrief, "")
	t.must(stream.header.Get("Cache-Control") == "no-store", "Cache-Control of a stream is %q, not no-store", stream.header.Get("Cache-Control"))
	// A proxy that the header is for, as nginx, takes it and does not pass it on.
	buffering := stream.header.Get("X-Accel-Buffering")
	t.must(buffering == "no" || buffering == "", "X-Accel-Buffering of a stream is %q, not no", buffering)
	events := stream.rest()
	last := events[len(events)-1].data
	t.began(last.str("conversationId"))
	for i, one := range events {
		t.must(slices.Equal(one.fields, []string{"id", "data"}), "event %d has the lines %v", i+1, one.fields)
		t.must(eventID.MatchString(one.id), "event %d has the id %q", i+1, one.id)
		t.must(one.data.str("runId") == stream.header.Get("X-Run-Id") && one.data.str("conversationId") == last.str("conversationId") && one.data.str("messageId") == last.str("messageId"), "event %d is %v", i+1, one.data)
	}
	t.must(last.str("content") == "" && last.str("finishReason") != "", "the last event is %v", last)
	messages, _ := user.history(last.str("conversationId"), "")
	t.must(len(messages) == 2 && messages[1].str("content") == said(events), "the stream says %q, stored is %q", said(events), contents(messages))
}

// streamIsNotBuffered looks at when the pieces come. A machine that is busy may make one late, or join it with the next;
// what buffers makes all of them late.
func streamIsNotBuffered(t *trial) {
	t.scripted()
	asked := time.Now()
	events := t.user().askStream(askPaced, "").rest()
	t.must(said(events) == joined(pacedDeltas), "the stream says %q", said(events))
	first, last, arrivals := events[0].at, events[len(events)-1].at, 1
	for i, one := range events[1:] {
		if one.at.Sub(events[i].at) > pacedPause/4 {
			arrivals++
		}
	}
	written := pacedPause * (pacedPieces - 1)
	switch {
	case last.Sub(first) < written/2:
		t.fail("%d pieces that are written %s apart come within %s, %s after they were asked for: something on the way buffers streams",
			pacedPieces, pacedPause, last.Sub(first).Round(time.Millisecond), first.Sub(asked).Round(time.Millisecond))
	case arrivals < pacedPieces/2:
		t.fail("%d pieces that are written %s apart come in %d parts: something on the way buffers streams, or merges their events", pacedPieces, pacedPause, arrivals)
	}
}

func streamIsNotCompressed(t *trial) {
	t.scripted()
	stream := t.user().askStream(askBrief, "", header("Accept-Encoding", "gzip, br, deflate"))
	defer stream.close()
	t.must(stream.header.Get("Content-Encoding") == "", "something on the way compresses streams (Content-Encoding: %s)", stream.header.Get("Content-Encoding"))
}

func streamIsResumed(t *trial) {
	t.scripted()
	user := t.user()
	broken := user.askStream(askPaced, "")
	var before []event
	for range 3 {
		before = append(before, broken.first())
	}
	broken.close()
	path := "/api/runs/" + broken.header.Get("X-Run-Id") + "/events/"
	last := before[len(before)-1].id
	for way, resumed := range map[string]*stream{
		"Last-Event-ID": user.stream(http.MethodGet, path, nil, header("Last-Event-ID", last)),
		"?after=":       user.stream(http.MethodGet, path+"?after="+last, nil),
	} {
		rest := resumed.rest()
		t.must(rest[0].data["reset"] == nil, "taken up by %s, the stream begins anew", way)
		t.must(said(before)+said(rest) == joined(pacedDeltas), "taken up by %s after %q, the stream says %q", way, said(before), said(rest))
	}
	whole := user.stream(http.MethodGet, path, nil).rest()
	t.must(said(whole) == joined(pacedDeltas), "followed from the beginning, the run says %q", said(whole))
}

func replyOutlivesItsCaller(t *trial) {
	t.scripted()
	user := t.user()
	stream := user.askStream(askPaced, "")
	conversation := stream.first().data.str("conversationId")
	stream.close()
	t.eventually("the reply is stored", func() bool {
		messages, _ := user.history(conversation, "")
		return len(messages) == 2 && messages[1].str("content") == joined(pacedDeltas)
	})
}
