package records_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/gen/db"
	"parley/internal/records"
)

// Exports take turns, and each is what it is alone.
func TestExportsAtOnceAreAllComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addMany(3_000)
	w.add(db.Record{CreatedAt: noon, OutputMessage: strings.Repeat("long ", 20_000)})
	filter := january(t)
	excel, csv := w.exportFile(filter, records.English), w.exportCSV(filter, records.English)
	if rows := parseCSV(t, csv); len(rows) != 1+3_001 {
		t.Fatalf("one alone has %d rows", len(rows)-1)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if !bytes.Equal(w.exportFile(filter, records.English), excel) {
				t.Error("an Excel file is another one beside others")
			}
		})
		all.Go(func() {
			if !bytes.Equal(w.exportCSV(filter, records.English), csv) {
				t.Error("a CSV file is another one beside others")
			}
		})
	}
	all.Wait()
}

// Whoever does not read a file keeps nobody from another one.
func TestAReaderThatStopsDoesNotStopOtherExports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addMany(3_000)
	for _, format := range []string{"Excel", "CSV"} {
		// given an export whose reader has taken a little and takes no more
		reader, writer := io.Pipe()
		ended := make(chan error, 1)
		stuck := w.prepare()
		write := stuck.WriteExcel
		if format == "CSV" {
			write = stuck.WriteCSV
		}
		go func() {
			err := write(t.Context(), writer, records.English)
			writer.Close()
			ended <- err
		}()
		taken := make([]byte, 40<<10)
		if _, err := io.ReadFull(reader, taken); err != nil {
			t.Fatal(err)
		}
		// when, then
		other := w.exportCSV(january(t), records.English)
		if rows := parseCSV(t, other); len(rows) != 1+3_000 {
			t.Errorf("beside %s there are %d rows", format, len(rows)-1)
		}
		// and its own is whole when it takes the rest
		rest, err := io.ReadAll(reader)
		if err := errors.Join(err, <-ended); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if file := append(taken, rest...); format == "CSV" && !bytes.Equal(file, other) {
			t.Errorf("%s: it has %d bytes", format, len(file))
		}
	}
}

// prepare is an export of January about to be written.
func (w *world) prepare() *records.Export {
	w.t.Helper()
	export, err := w.records.Export(w.t.Context(), w.organization, w.bot, january(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return export
}

// What ends before its turn, and in it, leaves the turn to others.
func TestAnExportThatEndsLeavesItsTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: noon})
	// given an export in its turn, which waits for somebody, and others that wait for theirs
	unlock := w.lock()
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for range cap(ended) {
		export := w.prepare()
		go func() { ended <- export.WriteCSV(ctx, io.Discard, records.English) }()
	}
	w.eventually("one export waits", func() bool { return w.busy() == 1 })
	// when
	leave()
	// then
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	}
	unlock()
	if rows := parseCSV(t, w.exportCSV(january(t), records.English)); len(rows) != 2 {
		t.Errorf("there are %d rows", len(rows)-1)
	}
}

// Exports rest after a turn for what others have asked meanwhile, within bounds, and not
// at all where nobody has.
func TestExportsRestForWhatOthersAsk(t *testing.T) {
	t.Parallel()
	for others, want := range map[int64]time.Duration{0: 0, 1: 2 * time.Millisecond, 7: 14 * time.Millisecond, 1_000: 40 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var asked int64
			turns := records.NewTurns(func() int64 { return asked })
			end, err := turns(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			asked += 1 + others // an export asks once
			end()
			ended := time.Now()
			if want > 0 { // whoever leaves while they rest leaves the turn to the next
				ctx, leave := context.WithTimeout(t.Context(), want/2)
				defer leave()
				if _, err := turns(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%d: whoever left has a turn, or %v", others, err)
				}
			}
			end, err = turns(t.Context())
			if took := time.Since(ended); err != nil || took != want {
				t.Errorf("%d: the rest took %v, want %v (%v)", others, took, want, err)
			}
			end()
		})
	}
}
