package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Kinds of journal entries.
const (
	kindSent      = "sent"      // a message is about to be sent for the first time
	kindAcked     = "acked"     // the server acknowledged a message: it is stored
	kindRefused   = "refused"   // a request failed in an allowed way; Why has the reason
	kindReceived  = "received"  // a device received a message, or the acknowledgement of its own message
	kindStreamed  = "streamed"  // a streamed reply was read to its end
	kindAnswered  = "answered"  // a reply was received as a whole
	kindViolation = "violation" // something arrived that must never arrive
)

// entry is a line of the journal: an action of a client or a promise to it.
type entry struct {
	At           time.Time     `json:"at"`
	Kind         string        `json:"kind"`
	Conversation string        `json:"conversation,omitempty"`
	Content      string        `json:"content,omitempty"` // of the message; for streamed and answered, of the reply
	ID           string        `json:"id,omitempty"`      // of the message
	Seq          int64         `json:"seq,omitempty"`
	Run          string        `json:"run,omitempty"`
	Device       string        `json:"device,omitempty"`
	Took         time.Duration `json:"took,omitempty"`
	Why          string        `json:"why,omitempty"`
}

// journal is an append-only file of entries. It is safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	to   *bufio.Writer
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: file, to: bufio.NewWriter(file)}, nil
}

// add appends an entry. It panics on failure, because an incomplete journal would prove nothing.
func (j *journal) add(e entry) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.to.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.file.Close()
	return j.to.Flush()
}

// readJournal calls visit for each entry, in order.
func readJournal(path string, visit func(entry)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := json.NewDecoder(bufio.NewReader(file)); ; {
		var e entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		visit(e)
	}
}
