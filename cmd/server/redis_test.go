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

// readiness is what /readyz says of Redis.
func (c client) readiness() string {
	c.t.Helper()
	var said struct{ Status, Redis string }
	c.call("GET", "/readyz", nil, http.StatusOK, &said)
	return said.Redis
}

// Two servers with one Redis work as one, and go on when it is away.
func TestServersWithARedisWorkAsOne(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := servingPair(t, "REDIS_URL="+redis.URL, "PARLEY_RATE_LIMITS=messages=6,history=0,list=0")
	first, second := p.clients()
	long, longText := says("long", 40, 100)
	first.scripted("slow", long, long)
	asked := first.stream("slow", "", "long")
	there := second.resume(asked.run)
	eventually(t, "it grows at the other one", func() bool { return len(there.heard()) > 5 })
	if first.readiness() != "ok" || second.readiness() != "ok" {
		t.Error("they do not say that Redis is there")
	}

	// when Redis is killed and comes back with nothing in it
	redis.Stop()
	eventually(t, "both say so", func() bool { return first.readiness() == "away" && second.readiness() == "away" })
	redis.Start()
	eventually(t, "both are back", func() bool { return first.readiness() == "ok" && second.readiness() == "ok" })
	checkWhole(t, "where it is written", asked.listening, longText)
	checkWhole(t, "at the other one", there, longText)

	// then what is cancelled at the one stops at the other at once
	asked = first.stream("slow", "", "long")
	there = second.resume(asked.run)
	eventually(t, "it grows", func() bool { return len(there.heard()) > 0 })
	began := time.Now()
	var ended apiRun
	second.call("POST", "/api/runs/"+asked.run+"/cancel/", nil, http.StatusOK, &ended)
	if took := time.Since(began); ended.State != "cancelled" || took > time.Second {
		t.Errorf("after %v it is %+v", took, ended)
	}
	asked.all(t)
	there.all(t)

	// and the messages of both are counted together
	for i := range 5 {
		[]client{first, second}[i%2].call("POST", "/api/conversations/"+asked.conversation+"/messages", object{"content": "x"}, http.StatusCreated, nil)
	}
	for _, c := range []client{first, second} {
		c.call("POST", "/api/conversations/"+asked.conversation+"/messages", object{"content": "x"}, http.StatusTooManyRequests, nil)
	}
	p.first.stop()
	p.second.stop()
	for _, one := range []*process{p.first, p.second} {
		if log := one.stderr.String(); strings.Count(log, "redis unavailable") != 1 || strings.Count(log, "redis available") != 1 || strings.Contains(log, "without REDIS_URL") {
			t.Errorf("the log says\n%s", log)
		}
	}
}

// Without Redis the second server says what does not work.
func TestServersWithoutARedisSaySo(t *testing.T) {
	t.Parallel()
	p := servingPair(t)
	first, second := p.clients()
	if first.readiness()+second.readiness() != "" {
		t.Error("they speak of a Redis")
	}
	const warning = "run several instances without REDIS_URL"
	if strings.Contains(p.first.stderr.String(), warning) || !strings.Contains(p.second.stderr.String(), warning) {
		t.Errorf("the first says\n%s\nthe second says\n%s", p.first.stderr.String(), p.second.stderr.String())
	}
	p.first.stop()
	p.second.stop()
}

// A user's messages are counted together, wherever and however they are sent.
func TestTheMessagesOfAMinuteAreCountedOverAllInstances(t *testing.T) {
	t.Parallel()
	// given a user who has sent as many as a minute allows, by turns to one server and the other
	p := servingPair(t, "REDIS_URL="+redistest.Start(t).URL, "PARLEY_RATE_LIMITS=messages=60,history=0,list=0")
	first, second := p.clients()
	clients := []client{first, second}
	conversation := first.start()
	first.call("PATCH", "/api/conversations/"+conversation+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	path := "/api/conversations/" + conversation + "/messages"
	for i := range 60 {
		clients[i%2].call("POST", path, object{"content": "x"}, http.StatusCreated, nil)
	}

	// then neither takes another one, over REST or over a socket
	for _, one := range clients {
		one.call("POST", path, object{"content": "x"}, http.StatusTooManyRequests, nil)
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(one.base, "http")+"/ws?after=60&session_id="+conversation,
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Api-Key " + one.key}}})
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
			t.Errorf("it is told %+v and %+v", greeting, refusal)
		}
	}
	if n := len(second.messages(conversation)); n != 60 {
		t.Errorf("%d messages are stored", n)
	}
}
