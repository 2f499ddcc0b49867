package main

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"parley/e2e/harness"
)

// rowExport is row 7.
func (b *bench) rowExport() row {
	const what = "export of 100,000 records over HTTP: server CPU / "
	return row{
		number: "7", needsRecords: true, skipWarmUp: true,
		lines: []line{
			{what: what + "excelize's StreamWriter writing the same", must: atMost(0.5), aim: atMost(0.3), format: rateOf("records")},
			{what: what + "compressing the finished XML (klauspost, level 6)", format: rateOf("records")},
		},
		prepare: func(ctx context.Context) error { return b.checkExport(ctx, b.bots.hundred, exportRecords) },
		measure: func(ctx context.Context, _ int) ([]measurement, error) {
			var references [2]sample
			for i, method := range []string{sheetByExcelize, sheetByZip} {
				written, err := harness.RunWorker[sheetResult](ctx, "sheet", sheetJob{Method: method, First: hundredBase, Count: exportRecords})
				if err != nil {
					return nil, err
				}
				references[i] = sample{server: perOperation(written.CPU, exportRecords), rate: exportRecords / written.Elapsed.Seconds()}
			}
			ours, _, err := b.measureExport(ctx, b.server, b.bots.hundred, exportRecords)
			return []measurement{
				{ours.server / references[0].server, ours, references[0]}, {ours.server / references[1].server, ours, references[1]},
			}, err
		},
	}
}

// export is a downloaded Excel file.
type export struct {
	firstByte time.Duration
	bytes     int64
}

// downloadExport downloads a chatbot's records as an Excel file.
func (b *bench) downloadExport(ctx context.Context, server *harness.Process, bot string, to io.Writer) (e export, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.Base+b.recordsPath(bot, "export-excel/"), nil)
	if err != nil {
		return e, err
	}
	request.Header.Set("Authorization", "Api-Key "+b.admin)
	start := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return e, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		received, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return e, fmt.Errorf("an export: status %s: %s", response.Status, received)
	}
	body := bufio.NewReader(response.Body)
	if head, err := body.Peek(2); err != nil || string(head) != "PK" {
		return e, fmt.Errorf("an export begins with %q: %w", head, err)
	}
	e.firstByte = time.Since(start)
	e.bytes, err = io.Copy(to, body)
	return e, err
}

// checkExport checks that an export has the right number of records.
func (b *bench) checkExport(ctx context.Context, bot string, want int) error {
	path := filepath.Join(b.dir, "export.xlsx")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }() // stop removes the directory anyway
	defer file.Close()
	if _, err := b.downloadExport(ctx, b.server, bot, file); err != nil {
		return err
	}
	archive, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open an export: %w", err)
	}
	defer func() { _ = archive.Close() }() // only read
	rows := -1                             // without the header
	for _, part := range archive.File {
		if strings.HasPrefix(part.Name, "xl/worksheets/sheet") {
			count, err := countRows(part)
			if err != nil {
				return err
			}
			rows += count
		}
	}
	if rows != want {
		return fmt.Errorf("an export has %d records, want %d", rows, want)
	}
	return nil
}

func countRows(part *zip.File) (rows int, err error) {
	content, err := part.Open()
	if err != nil {
		return 0, err
	}
	defer content.Close()
	reader := bufio.NewReader(content)
	for {
		tag, err := reader.ReadString('<')
		if strings.HasPrefix(tag, "row ") || strings.HasPrefix(tag, "row>") {
			rows++
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return rows, nil
			}
			return rows, err
		}
	}
}

// measureExport measures the cost of an export per record.
func (b *bench) measureExport(ctx context.Context, server *harness.Process, bot string, records int) (sample, export, error) {
	var e export
	start := time.Now()
	used, err := b.measureCPU(server, func() (err error) {
		e, err = b.downloadExport(ctx, server, bot, io.Discard)
		return err
	})
	return loadResult{Requests: records, Elapsed: time.Since(start)}.sample(used), e, err
}

const (
	concurrentExports = 4
	// maxBaseline limits for how many seconds messages are sent without exports, for comparison. It
	// is long enough for a checkpoint, which such a load causes every minute or two.
	maxBaseline = 120
)

// rowLargeExport is row 8.
func (b *bench) rowLargeExport() row {
	single := fmt.Sprintf("export of %d records: ", b.records)
	concurrent := fmt.Sprintf("%d such exports at once, while %d connections send messages: ", concurrentExports, b.connections)
	return row{
		number: "8", maxRounds: 1, needsRecords: true, skipWarmUp: true,
		lines: []line{
			{what: single + "growth of the server's resident memory", must: atMost(64), aim: atMost(24), unit: "MB", format: rateOf("records")},
			{what: single + "time to the first byte", must: atMost(1), aim: atMost(0.2), unit: "s", format: p50},
			{what: concurrent + "memory above that of the messages alone", unit: "MB", format: megabytes},
			{what: concurrent + "p99 of the messages / without exports", must: atMost(2), format: p99},
		},
		prepare: func(ctx context.Context) error { return b.checkExport(ctx, b.bots.few, fewRecords) },
		measure: b.measureLargeExports,
	}
}

// measureLargeExports uses a separate server, because memory that other rows have allocated would hide the growth.
func (b *bench) measureLargeExports(ctx context.Context, seconds int) (_ []measurement, err error) {
	server, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	sending := b.onUnanswered(sendMessage, b.connections)
	if _, err := b.measureLoad(ctx, server, 1, sending); err != nil {
		return nil, err
	}
	before, err := readResident(server)
	if err != nil {
		return nil, err
	}
	var single, quiet, busy sample
	var e export
	peak, err := peakMemory(ctx, server, func() (err error) {
		single, e, err = b.measureExport(ctx, server, b.bots.all, b.records)
		return err
	})
	if err != nil {
		return nil, err
	}
	quietPeak, err := peakMemory(ctx, server, func() (err error) {
		quiet, err = b.measureLoad(ctx, server, seconds, sending)
		return err
	})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	busyPeak, err := peakMemory(ctx, server, func() (err error) {
		busy, err = b.sendWhileExporting(ctx, server, sending)
		return err
	})
	if err != nil {
		return nil, err
	}
	took := int(time.Since(start).Seconds()) + 1
	baseline, err := b.measureLoad(ctx, server, min(took, maxBaseline), sending)
	quiet.bytes, busy.bytes = float64(quietPeak), float64(busyPeak)
	return []measurement{
		{float64(peak-before) / 1e6, single, sample{}},
		{e.firstByte.Seconds(), sample{p50: e.firstByte}, sample{}},
		{float64(busyPeak-quietPeak) / 1e6, busy, quiet},
		{float64(busy.p99) / float64(baseline.p99), busy, baseline},
	}, err
}

// sendWhileExporting sends messages until all concurrent exports are complete.
func (b *bench) sendWhileExporting(ctx context.Context, server *harness.Process, sending loadJob) (sample, error) {
	sending = b.complete(server, 600, sending)
	sending.UntilClosed = true
	load, err := harness.StartWorker(ctx, "load", sending)
	if err != nil {
		return sample{}, err
	}
	errs := make([]error, concurrentExports)
	var exports sync.WaitGroup
	for i := range errs {
		exports.Go(func() { _, errs[i] = b.downloadExport(ctx, server, b.bots.all, io.Discard) })
	}
	exports.Wait()
	var result loadResult
	err = load.Wait(ctx, &result)
	return result.sample(cpuTime{}), errors.Join(append(errs, err)...)
}

// peakMemory runs fn and returns the server's maximum resident memory meanwhile, sampled every 20 ms.
func peakMemory(ctx context.Context, server *harness.Process, fn func() error) (peak int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	sampling.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			now, err := readResident(server)
			if err != nil {
				return // the server has exited, so fn fails
			}
			peak = max(peak, now)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	err = fn()
	cancel()
	sampling.Wait()
	return peak, err
}
