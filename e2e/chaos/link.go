package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// proxies makes all links; nothing listens for its API.
var proxies = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())

// link is the network between two that speak to each other.
type link struct {
	proxy     *toxiproxy.Proxy
	name      string
	toxics    int      // that it has had
	oblivions []string // the names of those that it has
}

func newLink(name string, to int) (*link, error) {
	l := &link{name: name, proxy: toxiproxy.NewProxy(proxies, name, "127.0.0.1:0", address(to))}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("the link %s: %w", name, err)
	}
	return l, nil
}

// port is where it is entered.
func (l *link) port() int {
	_, port, _ := net.SplitHostPort(l.proxy.Listen) // as it was told by the listener
	number, _ := strconv.Atoi(port)
	return number
}

// cut ends what goes over it and refuses all else.
func (l *link) cut() { l.proxy.Stop() }

// mend lets it be used again. What goes on over it goes on undisturbed; what was half open
// is ended.
func (l *link) mend(ctx context.Context) error {
	reset := make(chan struct{})
	go func() {
		defer close(reset)
		l.proxy.Toxics.ResetToxics(ctx)
	}()
	select {
	case <-reset:
	case <-time.After(5 * time.Second): // what somebody does not read holds it up
		l.cut()
		<-reset
	}
	l.oblivions = nil
	if l.proxy.Enabled {
		return nil
	}
	return l.proxy.Start()
}

// toxic is what is done to the bytes that go one way or, without one, both ways.
type toxic struct {
	kind string
	way  string // upstream or downstream
	with map[string]any
}

func (l *link) poison(t toxic) error {
	ways := []string{"upstream", "downstream"}
	if t.way != "" {
		ways = []string{t.way}
	}
	for _, way := range ways {
		l.toxics++
		name := fmt.Sprint(t.kind, l.toxics)
		if t.kind == "oblivion" {
			l.oblivions = append(l.oblivions, name)
		}
		said, err := json.Marshal(map[string]any{"name": name, "type": t.kind, "stream": way, "toxicity": 1, "attributes": t.with})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(said)); err != nil {
			return fmt.Errorf("poison %s with %s: %w", l.name, t.kind, err)
		}
	}
	return nil
}

// recall has new connections work while those that are half open stay so for ever.
func (l *link) recall() error {
	for _, name := range l.oblivions {
		if _, err := l.proxy.Toxics.UpdateToxicJson(name, bytes.NewReader([]byte(`{"toxicity":1,"attributes":{"isOver":true}}`))); err != nil {
			return fmt.Errorf("recall %s: %w", l.name, err)
		}
	}
	return nil
}

// oblivion is a network that has forgotten its connections, as a router does that was
// replaced: whatever is sent over them is lost, and nobody is told. Once it is over new
// ones work.
type oblivion struct {
	IsOver bool `json:"isOver"`
}

// connection is what oblivion knows of one.
type connection struct{ isForgotten bool }

func init() {
	toxics.Register("oblivion", new(oblivion))
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics speak to a logger of everybody's
}

// NewState implements toxics.StatefulToxic. The collection of toxics is locked meanwhile, as
// it is when one is changed.
func (o *oblivion) NewState() any { return &connection{isForgotten: !o.IsOver} }

// Pipe implements toxics.Toxic.
func (o *oblivion) Pipe(stub *toxics.ToxicStub) {
	state, _ := stub.State.(*connection)
	if state == nil || !state.isForgotten {
		new(toxics.NoopToxic).Pipe(stub)
		return
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
		}
	}
}

// Cleanup implements toxics.CleanupToxic: with the toxic itself its connections end.
func (o *oblivion) Cleanup(stub *toxics.ToxicStub) {
	if state, _ := stub.State.(*connection); state != nil && state.isForgotten {
		stub.Close()
	}
}
