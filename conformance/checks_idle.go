package conformance

import (
	"net/http"
	"time"
)

func idleChecks() []check {
	return []check{
		{name: "idle/stream", holds: "A stream that is silent shows every 15 seconds that it lives, and nothing on the way cuts it.", isSlow: true, ask: silentStreamLives},
		{name: "idle/socket", holds: "A socket that is silent is pinged, and nothing on the way cuts it.", isSlow: true, ask: silentSocketLives},
	}
}

const (
	// keepAlive is how often a silent stream shows that it lives.
	keepAlive = 15 * time.Second
	// streamSilence is long enough for one such sign, and some time for the way.
	streamSilence = keepAlive + 5*time.Second
	// pingSlack is how late a ping may come.
	pingSlack = 3 * time.Second
	// longestPing is the longest time between pings that is waited for.
	longestPing = time.Minute
)

func silentStreamLives(t *trial) {
	t.scripted()
	silence := t.config.Silence
	if silence == 0 {
		silence = streamSilence
	}
	user := t.user()
	began := time.Now()
	stream := user.askStream(askSilence, "")
	first := stream.first()
	run := "/api/runs/" + stream.header.Get("X-Run-Id") + "/cancel/"
	// Another caller ends the silence.
	ended := make(chan error, 1)
	timer := time.AfterFunc(silence, func() {
		beside := &trial{deployment: t.deployment, ctx: t.ctx}
		ended <- t.attempt(beside, func() { caller{beside, user.key}.post(run, nil).gives(http.StatusOK) })
	})
	defer timer.Stop()
	stream.limit = silence + streamTime
	events := append([]event{first}, stream.rest()...)
	t.must(<-ended == nil, "the run could not be cancelled")
	t.must(events[len(events)-1].data.str("finishReason") == "cancelled", "the stream ends with %v", events[len(events)-1].data)
	if silence > keepAlive {
		t.must(len(stream.comments) > 0, "within %s of silence no comment line came: something on the way drops or holds them", silence)
		t.must(stream.comments[0].Sub(began) < keepAlive+pingSlack, "the first comment line came after %s, not %s: something on the way holds it", stream.comments[0].Sub(began).Round(time.Second), keepAlive)
	}
}

func silentSocketLives(t *trial) {
	user := t.user()
	socket, greeting := user.connect("?session_id=" + user.quiet())
	defer socket.close()
	silence := t.config.Silence
	ping := time.Duration(greeting.obj("limits").num("ping_seconds")) * time.Second
	if silence == 0 {
		if ping > longestPing {
			t.skip("the operator has sockets pinged every %s (PARLEY_SOCKET_TIMES); the check waits for %s at the most", ping, longestPing)
		}
		silence = ping + pingSlack
	}
	began := time.Now()
	timer := time.NewTimer(silence)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.fail("")
	case frame, ok := <-socket.frames:
		if !ok {
			t.fail("a socket that is silent is cut on the way after %s: %v", time.Since(began).Round(time.Millisecond), socket.ended)
		}
		t.fail("a socket that was left alone says %v", frame)
	}
	socket.say("still there", "silence")
	socket.delivered("silence")
	t.must(silence <= ping || socket.pings.Load() > 0, "within %s no ping came, where one is to come every %s", silence, ping)
}
