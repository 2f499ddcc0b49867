package llm

import (
	"sync"
	"time"
)

const (
	// toleratedFailures is how many questions in a row a server may fail before it is left alone.
	toleratedFailures = 3
	// coolDown is how long it is left alone. Then one question tries it, and the others wait for what becomes of that.
	coolDown = 15 * time.Second
	// rememberedServers bounds the memory that ailing servers take.
	rememberedServers = 10_000
)

// verdict is what a question has shown of a server.
type verdict int

const (
	unknown verdict = iota // it was broken off
	isWell
	isDown
)

// wards keeps which servers are ailing, so that their askers are told at once instead of waiting in vain. Well ones take
// no memory. Each organization has wards of its own, or one could spoil a server for another.
type wards struct {
	mu     sync.Mutex
	ailing map[serverID]*ailment
}

type ailment struct {
	failures int
	since    time.Time
	isProbed bool
}

// admit tells whether a server may be asked. The caller must then call settle once.
func (w *wards) admit(id serverID) (settle func(verdict), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.ailing[id]
	isProbe := a != nil && a.failures >= toleratedFailures
	if isProbe {
		if a.isProbed || time.Since(a.since) < coolDown {
			return nil, false
		}
		a.isProbed = true
	}
	return func(v verdict) { w.settle(id, isProbe, v) }, true
}

func (w *wards) settle(id serverID, isProbe bool, v verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.ailing[id]
	if a == nil {
		if v != isDown {
			return
		}
		a = w.add(id)
	}
	if isProbe {
		a.isProbed = false
	}
	switch v {
	case isWell:
		delete(w.ailing, id)
	case isDown:
		a.failures++
		a.since = time.Now()
	}
}

// add makes room where there is none: whichever server is forgotten is only asked again.
func (w *wards) add(id serverID) *ailment {
	if w.ailing == nil {
		w.ailing = map[serverID]*ailment{}
	}
	for known := range w.ailing {
		if len(w.ailing) < rememberedServers {
			break
		}
		delete(w.ailing, known)
	}
	a := &ailment{}
	w.ailing[id] = a
	return a
}
