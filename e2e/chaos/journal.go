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

// Kinds of entries.
const (
	didAsk      = "asked"    // a message is about to be sent for the first time
	wasTold     = "told"     // the server has said that the message is stored
	wasRefused  = "refused"  // a request was not answered as it should be; Why says how
	didHear     = "heard"    // a message has come to a device, or its own was acknowledged
	didRead     = "read"     // a streamed reply was read to its end
	wasAnswered = "answered" // a reply came as a whole
	didBreak    = "broken"   // something came that must never come
)

// entry is a line of the journal of what clients were told.
type entry struct {
	At           time.Time     `json:"at"`
	Kind         string        `json:"kind"`
	Conversation string        `json:"conversation,omitempty"`
	Content      string        `json:"content,omitempty"` // of the message; of the reply, where it was read
	ID           string        `json:"id,omitempty"`      // of the message
	Seq          int64         `json:"seq,omitempty"`
	Run          string        `json:"run,omitempty"`
	Device       string        `json:"device,omitempty"`
	Took         time.Duration `json:"took,omitempty"`
	Why          string        `json:"why,omitempty"`
	MayRepeat    bool          `json:"mayRepeat,omitempty"` // asked with a key that a failed reply frees
}

// journal is what a process under whose eyes things happen writes down, at once.
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

// add writes a line.
func (j *journal) add(one entry) {
	if one.At.IsZero() {
		one.At = time.Now()
	}
	line, err := json.Marshal(one)
	if err != nil {
		panic(err) // a plain struct
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.to.Write(append(line, '\n')); err != nil {
		panic(err) // who cannot note what they saw are worth nothing
	}
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.file.Close()
	return j.to.Flush()
}

// readJournal has each entry seen, in its order.
func readJournal(path string, see func(entry)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := json.NewDecoder(bufio.NewReader(file)); ; {
		var one entry
		if err := lines.Decode(&one); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		see(one)
	}
}
