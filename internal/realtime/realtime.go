// Package realtime distributes events to watchers: a Bus within this process, and notifications between the instances
// that share one Redis.
//
// Delivery is at most once, and every watcher must tolerate losses:
//
//   - A notification is a hint. It says where something changed, never what it changed
//     to. The database is the source of truth; the receiver reads it.
//   - Nothing is published before its transaction has committed.
//   - Publishing never blocks. Every queue is bounded; what does not fit is dropped.
//   - A receiver is notified when it may have lost something (Subscription.Missed on the bus,
//     the missed callback of Redis.Subscribe), and catches up from the database.
//   - The bus preserves the order of each publisher. Notifications are coalesced and may be
//     reordered.
//
// INVARIANT: Redis may lose all of its contents at any moment. It holds only data that the database has too, or that
// may be lost.
package realtime
