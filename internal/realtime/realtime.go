// Package realtime carries what happens to whoever watches: within this process by a
// Bus, and between the processes of one service by a Link through Redis.
//
// The bus is a hint, the database the truth: an event may be lost, and then the
// subscription says so. Each subscription has a bounded queue, so a watcher that is
// slow delays nobody; it is told that it missed something, and reads up. The link
// keeps the same rule between processes: its hints say where to look, may be lost, and
// whoever listens is told when that may have happened. Whatever Redis holds can be
// lost at any moment; nothing is there that the database does not hold, or that may
// not be forgotten.
package realtime
