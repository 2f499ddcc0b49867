package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"parley/internal/redistest"
)

// redisStatus returns the status of Redis in /readyz.
func (c client) redisStatus() string {
	c.t.Helper()
	var output struct{ Status, Redis string }
	c.call("GET", "/readyz", nil, http.StatusOK, &output)
	return output.Redis
}

// Two instances with a common Redis behave like one, and continue to serve while Redis is unavailable.
func TestInstancesWithRedisWorkAsOne(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := servingPair(t, "REDIS_URL="+redis.URL, "PARLEY_RATE_LIMITS=messages=6,history=0,list=0")
	first, second := p.clients()
	long, longText := scriptRule("long", 40, 100)
	first.createScriptedBot("slow", long, long)
	running := first.stream("slow", "", "long")
	there := second.resume(running.run)
	eventually(t, "the other instance streams the reply", func() bool { return len(there.received()) > 5 })
	if first.redisStatus() != "ok" || second.redisStatus() != "ok" {
		t.Error("/readyz does not report Redis as ok")
	}

	// when: Redis is killed and restarted empty
	redis.Stop()
	eventually(t, "both report it", func() bool { return first.redisStatus() == "away" && second.redisStatus() == "away" })
	redis.Start()
	eventually(t, "both have reconnected", func() bool { return first.redisStatus() == "ok" && second.redisStatus() == "ok" })
	checkWhole(t, "on the writing instance", running.streamReader, longText)
	checkWhole(t, "on the other instance", there, longText)

	// then: a run that is cancelled on one instance stops on the other immediately
	running = first.stream("slow", "", "long")
	there = second.resume(running.run)
	eventually(t, "the reply has started", func() bool { return len(there.received()) > 0 })
	began := time.Now()
	var ended apiRun
	second.call("POST", "/api/runs/"+running.run+"/cancel/", nil, http.StatusOK, &ended)
	if took := time.Since(began); ended.State != "cancelled" || took > time.Second {
		t.Errorf("cancelled after %v: %+v", took, ended)
	}
	running.finish(t)
	there.finish(t)

	// and: both share the rate limit
	for i := range 5 {
		[]client{first, second}[i%2].call("POST", "/api/conversations/"+running.conversation+"/messages", object{"content": "x"}, http.StatusCreated, nil)
	}
	for _, c := range []client{first, second} {
		c.call("POST", "/api/conversations/"+running.conversation+"/messages", object{"content": "x"}, http.StatusTooManyRequests, nil)
	}
	p.first.stop()
	p.second.stop()
	for _, server := range []*process{p.first, p.second} {
		if log := server.stderr.String(); strings.Count(log, "redis unavailable") != 1 || strings.Count(log, "redis available again") != 1 || strings.Contains(log, "without REDIS_URL") {
			t.Errorf("the log is\n%s", log)
		}
	}
}

// Without Redis, the second instance logs a warning that lists the limitations.
func TestInstancesWithoutRedisWarn(t *testing.T) {
	t.Parallel()
	p := servingPair(t)
	first, second := p.clients()
	if first.redisStatus()+second.redisStatus() != "" {
		t.Error("/readyz reports a Redis")
	}
	const warning = "several instances run without REDIS_URL"
	if strings.Contains(p.first.stderr.String(), warning) || !strings.Contains(p.second.stderr.String(), warning) {
		t.Errorf("the log of the first is\n%s\nthat of the second\n%s", p.first.stderr.String(), p.second.stderr.String())
	}
	p.first.stop()
	p.second.stop()
}

// All messages of a user are counted together: over all instances, and over REST and sockets.
func TestRateLimitIsSharedByInstances(t *testing.T) {
	t.Parallel()
	// given: a user who has reached the limit by sending to both instances in turn
	p := servingPair(t, "REDIS_URL="+redistest.Start(t).URL, "PARLEY_RATE_LIMITS=messages=60,history=0,list=0")
	first, second := p.clients()
	clients := []client{first, second}
	conversation := first.start()
	first.call("PATCH", "/api/conversations/"+conversation+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	path := "/api/conversations/" + conversation + "/messages"
	for i := range 60 {
		clients[i%2].call("POST", path, object{"content": "x"}, http.StatusCreated, nil)
	}

	// then: both refuse the next message, over REST and over a socket
	for _, c := range clients {
		c.call("POST", path, object{"content": "x"}, http.StatusTooManyRequests, nil)
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(c.base, "http")+"/ws?after=60&session_id="+conversation,
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Api-Key " + c.key}}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		var greeting, refusal chaosFrame
		if err := errors.Join(wsjson.Read(t.Context(), conn, &greeting),
			wsjson.Write(t.Context(), conn, object{"type": "message", "content": "x"}),
			wsjson.Read(t.Context(), conn, &refusal)); err != nil {
			t.Fatal(err)
		}
		if greeting.Status != "connected" || refusal.Error != "rate_limited" {
			t.Errorf("frames %+v and %+v", greeting, refusal)
		}
	}
	if n := len(second.messages(conversation)); n != 60 {
		t.Errorf("%d messages are stored", n)
	}
}
