package records_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/localpg"
	"parley/internal/records"
)

// hook is a buffer that calls do once, when more than the given number of bytes have been written.
type hook struct {
	bytes.Buffer
	after int
	do    func()
}

func (h *hook) Write(data []byte) (int, error) {
	n, err := h.Buffer.Write(data)
	if h.do != nil && h.Len() > h.after {
		do := h.do
		h.do = nil
		do()
	}
	return n, err
}

func TestExcelStartIsWrittenBeforeReadingRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon})
	// records that are deleted at the first write cannot have been read before
	out := &hook{do: func() { f.exec("DELETE FROM records") }}
	f.write(out)
	if rows := openBook(t, out.Bytes()).rows("Records"); len(rows) != 1 {
		t.Errorf("%d records were read before the deletion", len(rows)-1)
	}
}

func TestExportWritesWhileItReads(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addMany(20_000)
	out := &hook{after: 64 << 10, do: func() { f.exec("DELETE FROM records") }}
	f.write(out)
	if rows := openBook(t, out.Bytes()).rows("Records"); len(rows) < 2 || len(rows) > 10_000 {
		t.Errorf("%d records were read before the deletion", len(rows)-1)
	}
}

// write exports January to out.
func (f *fixture) write(out *hook) {
	f.t.Helper()
	export, err := f.records.Export(f.t.Context(), f.organization, f.bot, january(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	if err := export.WriteExcel(f.t.Context(), out, records.English); err != nil {
		f.t.Fatal(err)
	}
}

// addMany stores records, one every ten seconds from noon of 15 January.
func (f *fixture) addMany(count int) {
	f.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var all []db.Record
	for i := range count {
		words := make([]string, 20)
		for j := range words {
			words[j] = fmt.Sprintf("%x 退款", random.Uint32())
		}
		all = append(all, db.Record{
			CreatedAt:    noon.Add(time.Duration(i) * 10 * time.Second),
			InputMessage: strings.Join(words[:6], " "), OutputMessage: strings.Join(words, " "), ReplyTime: new(1.25),
		})
		if len(all) == 10_000 || i == count-1 {
			f.add(all...)
			all = all[:0]
		}
	}
}

func TestCanceledExportCancelsItsQuery(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon})
	// given an export whose first block waits for a lock
	f.lock()
	export, err := f.records.Export(t.Context(), f.organization, f.bot, january(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var file bytes.Buffer
	go func() { ended <- export.WriteExcel(ctx, &file, records.English) }()
	f.eventually("the export waits", func() bool { return f.busy() == 1 })
	// when
	cancel()
	start := time.Now()
	// then
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the export ended with %v", err)
	}
	f.eventually("the query is gone", func() bool { return f.busy() == 0 })
	if took := time.Since(start); took > time.Second {
		t.Errorf("canceling took %v", took)
	}
	expectBroken(t, file.Bytes())
}

// busy returns how many export queries are running in the fixture's database.
func (f *fixture) busy() (count int) {
	f.t.Helper()
	err := f.sql.QueryRow(f.t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND state = 'active' AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()`).Scan(&count)
	if err != nil {
		f.t.Fatal(err)
	}
	return count
}

// eventually polls a condition until it holds.
func (f *fixture) eventually(what string, holds func() bool) {
	f.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			f.t.Fatalf("never: %s", what)
		case <-poll.C:
		}
	}
}

func TestTruncatedExcelFileDoesNotOpen(t *testing.T) {
	t.Parallel()
	// given a PostgreSQL that stops during the export
	server, err := localpg.Start(t.Context(), localpg.Config{Dir: openDir(t), Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	f := newFixtureIn(t, server.URL("postgres"))
	f.addMany(20_000)
	export, err := f.records.Export(t.Context(), f.organization, f.bot, january(t))
	if err != nil {
		t.Fatal(err)
	}
	out := &hook{after: 64 << 10, do: stop}
	// when
	err = export.WriteExcel(t.Context(), out, records.English)
	// then
	if !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("the export ended with %v", err)
	}
	expectBroken(t, out.Bytes())
}

// openDir returns a directory that PostgreSQL's user can access, even if root runs the test.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "parley-records-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWriteErrorEndsTheExport(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addMany(5_000)
	for _, capacity := range []int{0, 1_000, 50_000} {
		export, err := f.records.Export(t.Context(), f.organization, f.bot, january(t))
		if err != nil {
			t.Fatal(err)
		}
		full := &fullDisk{capacity: capacity}
		if err := export.WriteExcel(t.Context(), full, records.English); !errors.Is(err, errFull) {
			t.Errorf("with a capacity of %d bytes it ended with %v", capacity, err)
		}
		expectBroken(t, full.Bytes())
	}
}

var errFull = errors.New("the disk is full")

// fullDisk accepts a limited number of bytes.
type fullDisk struct {
	bytes.Buffer
	capacity int
}

func (f *fullDisk) Write(data []byte) (int, error) {
	if f.Len()+len(data) > f.capacity {
		n, _ := f.Buffer.Write(data[:f.capacity-f.Len()])
		return n, errFull
	}
	return f.Buffer.Write(data)
}

func expectBroken(t *testing.T, file []byte) {
	t.Helper()
	if opened, err := excelize.OpenReader(bytes.NewReader(file)); err == nil {
		opened.Close()
		t.Error("the file opens")
	}
}

// BenchmarkExport exports 100,000 records. It reports the time to the first byte and the maximum growth of the heap.
func BenchmarkExport(b *testing.B) {
	benchmark(b, func(export *records.Export, out io.Writer) error {
		return export.WriteExcel(b.Context(), out, records.English)
	})
}

func benchmark(b *testing.B, write func(*records.Export, io.Writer) error) {
	f := newFixture(b)
	f.addMany(100_000)
	f.exec("VACUUM ANALYZE")
	filter := records.Filter{Days: days(b, "2025-01-01", "2025-12-31", "UTC")}
	for b.Loop() {
		runtime.GC()
		meter := &meter{began: time.Now(), before: heap()}
		export, err := f.records.Export(b.Context(), f.organization, f.bot, filter)
		if err != nil {
			b.Fatal(err)
		}
		if err := write(export, meter); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(meter.first.Microseconds())/1000, "first-byte-ms")
		b.ReportMetric(float64(meter.most-meter.before)/(1<<20), "heap-growth-MB")
		b.ReportMetric(float64(meter.bytes)/(1<<20), "file-MB")
	}
}

// BenchmarkHotRow decodes one record in PostgreSQL's binary format.
func BenchmarkHotRow(b *testing.B) {
	number := []byte{0x3f, 0xf4, 0, 0, 0, 0, 0, 0}
	question, answer := bytes.Repeat([]byte("How do I get a refund? 退款 "), 4), bytes.Repeat([]byte("Please wait. "), 20)
	columns := [][]byte{
		make([]byte, 16), make([]byte, 8), make([]byte, 8), make([]byte, 16), []byte("completed"), []byte("New"), question,
		{},
		{},
		answer,
		number, number, nil, nil, nil, nil, number, nil, nil,
		[]byte("gpt-4.1"), number[:4], number[:4], nil, nil,
	}
	b.ReportAllocs()
	var row records.RowDecoder
	for b.Loop() {
		if err := row.Decode(columns); err != nil {
			b.Fatal(err)
		}
	}
}

// meter discards a file and measures its export.
type meter struct {
	began        time.Time
	first        time.Duration
	before, most uint64
	bytes        int
}

func (m *meter) Write(data []byte) (int, error) {
	if m.bytes == 0 {
		m.first = time.Since(m.began)
	}
	m.bytes += len(data)
	m.most = max(m.most, heap())
	return len(data), nil
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}
