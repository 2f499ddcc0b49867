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

// proxies creates all links. Its HTTP API is not served.
var proxies = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())

// link is the network between two processes: a proxy that can disturb its connections.
type link struct {
	proxy      *toxiproxy.Proxy
	name       string
	toxics     int      // how many toxics were added so far; used in their names
	blackholes []string // the names of the active toxics
}

func newLink(name string, port int) (*link, error) {
	l := &link{name: name, proxy: toxiproxy.NewProxy(proxies, name, "127.0.0.1:0", address(port))}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("the link %s: %w", name, err)
	}
	return l, nil
}

// port returns the port to connect to.
func (l *link) port() int {
	_, port, _ := net.SplitHostPort(l.proxy.Listen) // set by the listener
	number, _ := strconv.Atoi(port)
	return number
}

// cut closes all connections and refuses new ones.
func (l *link) cut() { l.proxy.Stop() }

// restore removes all toxics and accepts connections again. Working connections stay open. Connections that a toxic
// has stalled are closed.
func (l *link) restore(ctx context.Context) error {
	reset := make(chan struct{})
	go func() {
		defer close(reset)
		l.proxy.Toxics.ResetToxics(ctx)
	}()
	select {
	case <-reset:
	case <-time.After(5 * time.Second): // blocked by a peer that does not read
		l.cut()
		<-reset
	}
	l.blackholes = nil
	if l.proxy.Enabled {
		return nil
	}
	return l.proxy.Start()
}

// toxic is a disturbance of the data in one direction or, if none is named, in both.
type toxic struct {
	kind       string
	direction  string // upstream or downstream
	attributes map[string]any
}

func (l *link) addToxic(t toxic) error {
	directions := []string{"upstream", "downstream"}
	if t.direction != "" {
		directions = []string{t.direction}
	}
	for _, direction := range directions {
		l.toxics++
		name := fmt.Sprint(t.kind, l.toxics)
		if t.kind == "blackhole" {
			l.blackholes = append(l.blackholes, name)
		}
		encoded, err := json.Marshal(map[string]any{"name": name, "type": t.kind, "stream": direction, "toxicity": 1, "attributes": t.attributes})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(encoded)); err != nil {
			return fmt.Errorf("add the toxic %s to %s: %w", t.kind, l.name, err)
		}
	}
	return nil
}

// endBlackholes lets new connections work. Connections that were blackholed stay so.
func (l *link) endBlackholes() error {
	for _, name := range l.blackholes {
		if _, err := l.proxy.Toxics.UpdateToxicJson(name, bytes.NewReader([]byte(`{"toxicity":1,"attributes":{"isOver":true}}`))); err != nil {
			return fmt.Errorf("end the blackhole of %s: %w", l.name, err)
		}
	}
	return nil
}

// blackhole is a toxic that silently drops the data of all connections that exist while it is active, like a replaced
// router that has lost its connection table. Connections that are opened after IsOver is set work.
type blackhole struct {
	IsOver bool `json:"isOver"`
}

// blackholeState is the state of one connection.
type blackholeState struct{ isDropping bool }

func init() {
	toxics.Register("blackhole", new(blackhole))
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics use the global logger
}

// NewState implements toxics.StatefulToxic. Toxiproxy holds the same lock here and while it updates
// a toxic, so IsOver needs none.
func (b *blackhole) NewState() any { return &blackholeState{isDropping: !b.IsOver} }

// Pipe implements toxics.Toxic.
func (b *blackhole) Pipe(stub *toxics.ToxicStub) {
	state, _ := stub.State.(*blackholeState)
	if state == nil || !state.isDropping {
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

// Cleanup implements toxics.CleanupToxic: removing the toxic closes its connections.
func (b *blackhole) Cleanup(stub *toxics.ToxicStub) {
	if state, _ := stub.State.(*blackholeState); state != nil && state.isDropping {
		stub.Close()
	}
}
