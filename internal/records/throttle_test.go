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

func TestConcurrentExportsAreComplete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addMany(3_000)
	f.add(db.Record{CreatedAt: noon, OutputMessage: strings.Repeat("long ", 20_000)})
	filter := january(t)
	excel, csv := f.exportFile(filter, records.English), f.exportCSV(filter, records.English)
	if rows := parseCSV(t, csv); len(rows) != 1+3_001 {
		t.Fatalf("a single export has %d rows", len(rows)-1)
	}
	var exports sync.WaitGroup
	for range 4 {
		exports.Go(func() {
			if !bytes.Equal(f.exportFile(filter, records.English), excel) {
				t.Error("a concurrent Excel export differs")
			}
		})
		exports.Go(func() {
			if !bytes.Equal(f.exportCSV(filter, records.English), csv) {
				t.Error("a concurrent CSV export differs")
			}
		})
	}
	exports.Wait()
}

func TestStalledReaderDoesNotBlockOtherExports(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addMany(3_000)
	for _, format := range []string{"Excel", "CSV"} {
		// given an export whose reader stops after the first bytes
		reader, writer := io.Pipe()
		ended := make(chan error, 1)
		stuck := f.prepare()
		write := stuck.WriteExcel
		if format == "CSV" {
			write = stuck.WriteCSV
		}
		go func() {
			err := write(t.Context(), writer, records.English)
			writer.Close()
			ended <- err
		}()
		received := make([]byte, 40<<10)
		if _, err := io.ReadFull(reader, received); err != nil {
			t.Fatal(err)
		}
		// when, then
		other := f.exportCSV(january(t), records.English)
		if rows := parseCSV(t, other); len(rows) != 1+3_000 {
			t.Errorf("beside a stalled %s export there are %d rows", format, len(rows)-1)
		}
		// and the stalled export is complete when its reader continues
		rest, err := io.ReadAll(reader)
		if err := errors.Join(err, <-ended); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if file := append(received, rest...); format == "CSV" && !bytes.Equal(file, other) {
			t.Errorf("%s: the file differs, with %d bytes", format, len(file))
		}
	}
}

// prepare returns an export of January.
func (f *fixture) prepare() *records.Export {
	f.t.Helper()
	export, err := f.records.Export(f.t.Context(), f.organization, f.bot, january(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	return export
}

func TestCanceledExportsReleaseTheirTurn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon})
	// given an export that waits for a lock during its turn, and others that wait for their turn
	unlock := f.lock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for range cap(ended) {
		export := f.prepare()
		go func() { ended <- export.WriteCSV(ctx, io.Discard, records.English) }()
	}
	f.eventually("one export waits", func() bool { return f.busy() == 1 })
	// when
	cancel()
	// then
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the export ended with %v", err)
		}
	}
	unlock()
	if rows := parseCSV(t, f.exportCSV(january(t), records.English)); len(rows) != 2 {
		t.Errorf("the next export has %d rows, want 1", len(rows)-1)
	}
}

// The pause after a block is proportional to the number of other queries, and is bounded.
func TestExportsPauseForOtherQueries(t *testing.T) {
	t.Parallel()
	for others, want := range map[int64]time.Duration{0: 0, 1: 2 * time.Millisecond, 7: 14 * time.Millisecond, 1_000: 40 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var queries int64
			begin := records.NewThrottle(func() int64 { return queries })
			end, err := begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			queries += 1 + others // the export itself makes one
			end()
			ended := time.Now()
			if want > 0 { // a caller canceled during the pause releases the turn
				ctx, cancel := context.WithTimeout(t.Context(), want/2)
				defer cancel()
				if _, err := begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%d: the canceled caller got a turn, or %v", others, err)
				}
			}
			end, err = begin(t.Context())
			if took := time.Since(ended); err != nil || took != want {
				t.Errorf("%d: the pause took %v, want %v (%v)", others, took, want, err)
			}
			end()
		})
	}
}
