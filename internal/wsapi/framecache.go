package wsapi

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// frameCache holds the encoded frames of recent events, so that an event is encoded once for all
// sockets that watch it. It is lossy: a colliding key replaces an entry, and the entry is encoded
// again if another socket needs it. clear bounds how long entries are retained.
//
// The cache takes no lock that another event could hold. The zero frameCache is ready to use.
type frameCache[K comparable] struct {
	entries [1024]atomic.Pointer[frameEntry[K]]
}

type frameEntry[K comparable] struct {
	key    K
	once   sync.Once
	frames [][]byte
}

var frameSeed = maphash.MakeSeed()

// get returns the frames of a key, which encode makes if they are not cached. Concurrent calls for a
// key wait for one encode. The caller must not modify the frames.
func (c *frameCache[K]) get(key K, encode func() [][]byte) [][]byte {
	slot := &c.entries[maphash.Comparable(frameSeed, key)%uint64(len(c.entries))]
	entry := slot.Load()
	if entry == nil || entry.key != key {
		added := &frameEntry[K]{key: key}
		if !slot.CompareAndSwap(entry, added) {
			if current := slot.Load(); current != nil && current.key == key {
				added = current
			}
		}
		entry = added
	}
	entry.once.Do(func() { entry.frames = encode() })
	return entry.frames
}

func (c *frameCache[K]) clear() {
	for i := range c.entries {
		c.entries[i].Store(nil)
	}
}
