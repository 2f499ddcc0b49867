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

// hook is a writer that does something once so many bytes have reached it.
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

func TestTheFirstBytesComeBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: noon})
	// what is deleted when the first bytes come cannot have been read
	out := &hook{do: func() { w.exec("DELETE FROM records") }}
	w.write(out)
	if rows := openBook(t, out.Bytes()).rows("Records"); len(rows) != 1 {
		t.Errorf("%d records had been read", len(rows)-1)
	}
}

func TestBytesComeBeforeTheLastBlockIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addMany(20_000)
	out := &hook{after: 64 << 10, do: func() { w.exec("DELETE FROM records") }}
	w.write(out)
	if rows := openBook(t, out.Bytes()).rows("Records"); len(rows) < 2 || len(rows) > 10_000 {
		t.Errorf("%d records had been read", len(rows)-1)
	}
}

// write exports January.
func (w *world) write(out *hook) {
	w.t.Helper()
	export, err := w.records.Export(w.t.Context(), w.organization, w.bot, january(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := export.WriteExcel(w.t.Context(), out, records.English); err != nil {
		w.t.Fatal(err)
	}
}

// addMany stores records of January, the oldest first.
func (w *world) addMany(count int) {
	w.t.Helper()
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
			w.add(all...)
			all = all[:0]
		}
	}
}

// An export is in vain without its reader: what it waits for in the database ends.
func TestAReaderThatLeavesFreesItsQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(db.Record{CreatedAt: noon})
	// given an export whose first block waits for somebody
	w.lock()
	export, err := w.records.Export(t.Context(), w.organization, w.bot, january(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var file bytes.Buffer
	go func() { ended <- export.WriteExcel(ctx, &file, records.English) }()
	w.eventually("the export waits", func() bool { return w.busy() == 1 })
	// when
	leave()
	left := time.Now()
	// then
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	w.eventually("the query is gone", func() bool { return w.busy() == 0 })
	if took := time.Since(left); took > time.Second {
		t.Errorf("that took %v", took)
	}
	expectBroken(t, file.Bytes())
}

// busy counts the queries for records in the world's database.
func (w *world) busy() (count int) {
	w.t.Helper()
	err := w.sql.QueryRow(w.t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND state = 'active' AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()`).Scan(&count)
	if err != nil {
		w.t.Fatal(err)
	}
	return count
}

// eventually waits until something is so.
func (w *world) eventually(what string, isSo func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !isSo() {
		select {
		case <-deadline.C:
			w.t.Fatalf("it never came to be: %s", what)
		case <-look.C:
		}
	}
}

func TestAFileWithoutItsEndDoesNotOpen(t *testing.T) {
	t.Parallel()
	// given a PostgreSQL that stops in mid-export
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
	w := worldIn(t, server.URL("postgres"))
	w.addMany(20_000)
	export, err := w.records.Export(t.Context(), w.organization, w.bot, january(t))
	if err != nil {
		t.Fatal(err)
	}
	out := &hook{after: 64 << 10, do: stop}
	// when
	err = export.WriteExcel(t.Context(), out, records.English)
	// then
	if !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("it ended with %v", err)
	}
	expectBroken(t, out.Bytes())
}

// openDir is a directory that the user of PostgreSQL can enter, whoever runs the test.
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

func TestAWriterThatFailsEndsTheExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addMany(5_000)
	for _, room := range []int{0, 1_000, 50_000} {
		export, err := w.records.Export(t.Context(), w.organization, w.bot, january(t))
		if err != nil {
			t.Fatal(err)
		}
		full := &fullDisk{room: room}
		if err := export.WriteExcel(t.Context(), full, records.English); !errors.Is(err, errFull) {
			t.Errorf("with room for %d bytes it ended with %v", room, err)
		}
		expectBroken(t, full.Bytes())
	}
}

var errFull = errors.New("no room")

// fullDisk takes so many bytes and no more.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (f *fullDisk) Write(data []byte) (int, error) {
	if f.Len()+len(data) > f.room {
		n, _ := f.Buffer.Write(data[:f.room-f.Len()])
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

// BenchmarkExport writes 100,000 records, and tells when the first byte came and by
// how much the heap grew at the most.
func BenchmarkExport(b *testing.B) {
	benchmark(b, func(export *records.Export, w io.Writer) error {
		return export.WriteExcel(b.Context(), w, records.English)
	})
}

func benchmark(b *testing.B, write func(*records.Export, io.Writer) error) {
	w := newWorld(b)
	w.addMany(100_000)
	w.exec("VACUUM ANALYZE")
	filter := records.Filter{Days: days(b, "2025-01-01", "2025-12-31", "UTC")}
	for b.Loop() {
		runtime.GC()
		meter := &meter{began: time.Now(), before: heap()}
		export, err := w.records.Export(b.Context(), w.organization, w.bot, filter)
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

// BenchmarkHotRow reads one record as PostgreSQL sends it.
func BenchmarkHotRow(b *testing.B) {
	number := []byte{0x3f, 0xf4, 0, 0, 0, 0, 0, 0}
	question, answer := bytes.Repeat([]byte("How do I get a refund? 退款 "), 4), bytes.Repeat([]byte("Please wait. "), 20)
	columns := [][]byte{
		make([]byte, 16), make([]byte, 8), make([]byte, 8), make([]byte, 16), []byte("completed"), []byte("New"), question,
		{},
		{},
		answer,
		number, number, nil, nil, nil, nil, number, nil, nil,
	}
	b.ReportAllocs()
	var row records.Row
	for b.Loop() {
		if err := row.Read(columns); err != nil {
			b.Fatal(err)
		}
	}
}

// meter throws a file away.
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
