package conformance

import (
	"cmp"
	"net/http"
	"time"
)

func idleChecks() []check {
	return []check{
		slow("idle/stream", "A silent stream sends a keep-alive every 15 seconds, and no proxy cuts it.", checkSilentStream),
		slow("idle/socket", "A silent socket is pinged, and no proxy cuts it.", checkSilentSocket),
	}
}

const (
	// keepAliveInterval is the interval of comment lines in a silent stream.
	keepAliveInterval = 15 * time.Second
	// streamIdleTime is long enough for one comment line.
	streamIdleTime = keepAliveInterval + 5*time.Second
	// keepAliveSlack is the accepted delay of a comment line or a ping.
	keepAliveSlack = 3 * time.Second
	// maxPingInterval is the longest ping interval that the check waits for.
	maxPingInterval = time.Minute
)

func checkSilentStream(t *checker) {
	t.needScript()
	idle := cmp.Or(t.config.IdleTime, streamIdleTime)
	began := time.Now()
	stream := t.user.streamCompletion(askSilence, "")
	first := stream.mustNext()
	run := "/api/runs/" + stream.header.Get("X-Run-Id") + "/cancel/"
	// Another request ends the silence.
	cancelled := make(chan error, 1)
	timer := time.AfterFunc(idle, func() {
		cancelled <- t.attempt(t.ctx, func(other *checker) { client{other, t.user.key}.post(run, nil).json(http.StatusOK) })
	})
	defer timer.Stop()
	stream.limit = idle + streamTimeout
	events := append([]event{first}, stream.readAll()...)
	t.require(<-cancelled == nil, "the run could not be cancelled")
	t.require(events[len(events)-1].data.str("finishReason") == "cancelled", "the stream ends with %v", events[len(events)-1].data)
	if idle > keepAliveInterval {
		t.require(len(stream.comments) > 0, "no comment line arrives in %s of silence: a proxy drops or holds them", idle)
		t.require(stream.comments[0].Sub(began) < keepAliveInterval+keepAliveSlack, "the first comment line arrives after %s, want %s: a proxy holds it", stream.comments[0].Sub(began).Round(time.Second), keepAliveInterval)
	}
}

func checkSilentSocket(t *checker) {
	socket, connected := t.user.connect("?session_id=" + t.user.startWithoutBot())
	idle := t.config.IdleTime
	ping := time.Duration(connected.obj("limits").num("ping_seconds")) * time.Second
	if idle == 0 {
		if ping > maxPingInterval {
			t.skipf("sockets are pinged every %s (PARLEY_SOCKET_TIMES); the check waits up to %s", ping, maxPingInterval)
		}
		idle = ping + keepAliveSlack
	}
	began := time.Now()
	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.fatalf("")
	case frame, ok := <-socket.frames:
		if !ok {
			t.fatalf("a proxy cuts the silent socket after %s: %v", time.Since(began).Round(time.Millisecond), socket.err)
		}
		t.fatalf("the silent socket receives %v", frame)
	}
	socket.send("still open", "idle")
	socket.expectDelivered("idle")
	t.require(idle <= ping || socket.pings.Load() > 0, "no ping arrives in %s, want one every %s", idle, ping)
}
