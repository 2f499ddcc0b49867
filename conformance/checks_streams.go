package conformance

import (
	"net/http"
	"regexp"
	"slices"
	"time"
)

func streamChecks() []check {
	return []check{
		named("streams/format", "A stream is an uncached event stream of unnamed events with an ID and one line of data.", checkStreamFormat),
		scripted("streams/not-buffered", "Events arrive as they are written: no proxy buffers or merges them.", checkNotBuffered),
		scripted("streams/not-compressed", "No proxy compresses streams, which would delay events.", checkNotCompressed),
		scripted("streams/resume", "A broken stream resumes after Last-Event-ID without gaps or duplicates.", checkResume),
		scripted("streams/disconnect", "A reply is stored even if the caller disconnects.", checkDisconnect),
	}
}

var eventID = regexp.MustCompile(`^[1-9]\d*\.(0|[1-9]\d*)$`)

func checkStreamFormat(t *checker) {
	stream := t.user.streamCompletion(askBrief, "")
	t.require(stream.header.Get("Cache-Control") == "no-store", "a stream has Cache-Control %q, want no-store", stream.header.Get("Cache-Control"))
	// nginx removes this header, which is meant for it.
	buffering := stream.header.Get("X-Accel-Buffering")
	t.require(buffering == "no" || buffering == "", "a stream has X-Accel-Buffering %q, want no", buffering)
	events := stream.readAll()
	last := events[len(events)-1].data
	t.deleteConversationLater(last.str("conversationId"))
	for i, e := range events {
		t.require(slices.Equal(e.fields, []string{"id", "data"}), "event %d has the lines %v", i+1, e.fields)
		t.require(eventID.MatchString(e.id), "event %d has the ID %q", i+1, e.id)
		t.require(e.data.str("runId") == stream.header.Get("X-Run-Id") && e.data.str("conversationId") == last.str("conversationId") && e.data.str("messageId") == last.str("messageId"), "event %d is %v", i+1, e.data)
	}
	t.require(last.str("content") == "" && last.str("finishReason") != "", "the last event is %v", last)
	t.user.expectReply(last.str("conversationId"), textOf(events))
}

// checkNotBuffered measures when events arrive. On a busy machine, an event may be late or arrive together with the
// next one. A buffering proxy delays all events.
func checkNotBuffered(t *checker) {
	asked := time.Now()
	events := t.user.streamCompletion(askPaced, "").readAll()
	t.require(textOf(events) == pacedText, "the stream has %q", textOf(events))
	first, last, arrivals := events[0].at, events[len(events)-1].at, 1
	for i, e := range events[1:] {
		if e.at.Sub(events[i].at) > pacedInterval/4 {
			arrivals++
		}
	}
	written := pacedInterval * (pacedPieces - 1)
	switch {
	case last.Sub(first) < written/2:
		t.fatalf("%d events that are written %s apart arrive within %s, %s after the request: a proxy buffers streams",
			pacedPieces, pacedInterval, last.Sub(first).Round(time.Millisecond), first.Sub(asked).Round(time.Millisecond))
	case arrivals < pacedPieces/2:
		t.fatalf("%d events that are written %s apart arrive in %d parts: a proxy buffers streams or merges events", pacedPieces, pacedInterval, arrivals)
	}
}

func checkNotCompressed(t *checker) {
	stream := t.user.streamCompletion(askBrief, "", header("Accept-Encoding", "gzip, br, deflate"))
	defer stream.close()
	t.require(stream.header.Get("Content-Encoding") == "", "a proxy compresses streams (Content-Encoding: %s)", stream.header.Get("Content-Encoding"))
}

func checkResume(t *checker) {
	broken := t.user.streamCompletion(askPaced, "")
	var before []event
	for range 3 {
		before = append(before, broken.mustNext())
	}
	broken.close()
	path := "/api/runs/" + broken.header.Get("X-Run-Id") + "/events/"
	last := before[len(before)-1].id
	for way, resumed := range map[string]*eventStream{
		"Last-Event-ID": t.user.stream(http.MethodGet, path, nil, header("Last-Event-ID", last)),
		"?after=":       t.user.stream(http.MethodGet, path+"?after="+last, nil),
	} {
		rest := resumed.readAll()
		t.require(rest[0].data["reset"] == nil, "resumed by %s, the stream restarts", way)
		t.require(textOf(before)+textOf(rest) == pacedText, "resumed by %s after %q, the stream has %q", way, textOf(before), textOf(rest))
	}
	whole := t.user.stream(http.MethodGet, path, nil).readAll()
	end := whole[len(whole)-1].id
	t.require(end != whole[len(whole)-2].id, "the last event has the ID of the last delta, %s", end)
	done := t.user.get(path, header("Last-Event-ID", end))
	t.require(done.status == http.StatusNoContent, "after the last event the status is %d, want 204", done.status)
	t.require(textOf(whole) == pacedText, "followed from the beginning, the run has %q", textOf(whole))
}

func checkDisconnect(t *checker) {
	stream := t.user.streamCompletion(askPaced, "")
	conversation := stream.mustNext().data.str("conversationId")
	stream.close()
	t.eventually("the reply is stored", func() bool {
		messages := t.user.messages(conversation)
		return len(messages) == 2 && messages[1].str("content") == pacedText
	})
}
