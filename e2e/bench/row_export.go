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

// exported is a file that came.
type exported struct {
	firstByte time.Duration
	bytes     int64
}

// export fetches a chatbot's records as an Excel file.
func (b *bench) export(ctx context.Context, server *harness.Process, bot string, to io.Writer) (e exported, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.Base+b.recordsPath(bot, "export-excel/"), nil)
	if err != nil {
		return e, err
	}
	request.Header.Set("Authorization", "Api-Key "+b.admin)
	began := time.Now()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return e, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return e, fmt.Errorf("an export was answered with %s: %s", answer.Status, told)
	}
	body := bufio.NewReader(answer.Body)
	if head, err := body.Peek(2); err != nil || string(head) != "PK" {
		return e, fmt.Errorf("an export begins with %q: %w", head, err)
	}
	e.firstByte = time.Since(began)
	e.bytes, err = io.Copy(to, body)
	return e, err
}

// checkExport looks whether a file has so many records.
func (b *bench) checkExport(ctx context.Context, bot string, want int) error {
	path := filepath.Join(b.dir, "export.xlsx")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }() // all of the directory is removed in the end
	defer file.Close()
	if _, err := b.export(ctx, b.server, bot, file); err != nil {
		return err
	}
	archive, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open an export: %w", err)
	}
	defer func() { _ = archive.Close() }() // it was only read
	rows := -1                             // the header is none
	for _, part := range archive.File {
		if strings.HasPrefix(part.Name, "xl/worksheets/sheet") {
			found, err := countRows(part)
			if err != nil {
				return err
			}
			rows += found
		}
	}
	if rows != want {
		return fmt.Errorf("an export has %d records, where there are %d", rows, want)
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

// exports is row 7.
func (b *bench) exports() row {
	const what = "export of 100,000 records over HTTP: server's CPU / "
	return row{
		number: "7", ofRecords: true, isWarm: true,
		lines: []line{
			{what: what + "excelize's StreamWriter writing the same", must: atMost(0.5), aim: atMost(0.3), shows: perSecond("records")},
			{what: what + "the same sheet, ready as XML, through zip (klauspost level 6)", shows: perSecond("records")},
		},
		prepare: func(ctx context.Context) error { return b.checkExport(ctx, b.bots.hundred, exportRecords) },
		measure: func(ctx context.Context, _ int) ([]finding, error) {
			var others [2]sample
			for i, way := range []string{wayExcelize, wayZip} {
				written, err := harness.RunWorker[sheetFound](ctx, "sheet", sheet{Way: way, First: hundredBase, Count: exportRecords})
				if err != nil {
					return nil, err
				}
				others[i] = sample{server: perOperation(written.CPU, exportRecords), rate: exportRecords / written.Elapsed.Seconds()}
			}
			ours, _, err := b.exportSample(ctx, b.server, b.bots.hundred, exportRecords)
			return []finding{{ours.server / others[0].server, ours, others[0]}, {ours.server / others[1].server, ours, others[1]}}, err
		},
	}
}

// exportSample is what an export costs, by record.
func (b *bench) exportSample(ctx context.Context, server *harness.Process, bot string, records int) (sample, exported, error) {
	var e exported
	began := time.Now()
	used, err := b.cost(server, func() (err error) {
		e, err = b.export(ctx, server, bot, io.Discard)
		return err
	})
	return found{Requests: records, Elapsed: time.Since(began)}.sample(used), e, err
}

const (
	exportsAtOnce = 4
	// longestWithout bounds how many seconds the messages beside exports are compared with:
	// long enough for a checkpoint, which such a load has every minute or two.
	longestWithout = 120
)

// exportsOfAll is row 8.
func (b *bench) exportsOfAll() row {
	what := fmt.Sprintf("export of %d records: ", b.records)
	together := fmt.Sprintf("%d of them at once, while %d connections send messages: ", exportsAtOnce, b.connections)
	return row{
		number: "8", most: 1, ofRecords: true, isWarm: true,
		lines: []line{
			{what: what + "MB that the server's resident memory grows", must: atMost(64), aim: atMost(24), unit: "MB", shows: perSecond("records")},
			{what: what + "seconds to the first byte", must: atMost(1), aim: atMost(0.2), unit: "s", shows: p50},
			{what: together + "MB more than with the messages alone", unit: "MB", shows: mega},
			{what: together + "p99 of the messages / without exports", must: atMost(2), shows: p99},
		},
		prepare: func(ctx context.Context) error { return b.checkExport(ctx, b.bots.few, fewRecords) },
		measure: b.measureExports,
	}
}

// measureExports starts a server of its own: what another row has made of its memory
// would hide its growth.
func (b *bench) measureExports(ctx context.Context, seconds int) (_ []finding, err error) {
	server, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	sending := b.talking(sendMessage, b.connections)
	if _, err := b.overHTTP(ctx, server, 1, sending); err != nil {
		return nil, err
	}
	before, err := residentOf(server)
	if err != nil {
		return nil, err
	}
	var alone, quiet, busy sample
	var e exported
	peak, err := peakOf(ctx, server, func() (err error) {
		alone, e, err = b.exportSample(ctx, server, b.bots.all, b.records)
		return err
	})
	if err != nil {
		return nil, err
	}
	quietPeak, err := peakOf(ctx, server, func() (err error) {
		quiet, err = b.overHTTP(ctx, server, seconds, sending)
		return err
	})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	busyPeak, err := peakOf(ctx, server, func() (err error) {
		busy, err = b.sendWhileExporting(ctx, server, sending)
		return err
	})
	if err != nil {
		return nil, err
	}
	took := int(time.Since(began).Seconds()) + 1
	without, err := b.overHTTP(ctx, server, min(took, longestWithout), sending)
	quiet.bytes, busy.bytes = float64(quietPeak), float64(busyPeak)
	first := sample{p50: e.firstByte}
	return []finding{
		{float64(peak-before) / 1e6, alone, sample{}},
		{e.firstByte.Seconds(), first, sample{}},
		{float64(busyPeak-quietPeak) / 1e6, busy, quiet},
		{float64(busy.p99) / float64(without.p99), busy, without},
	}, err
}

// sendWhileExporting sends messages until all exports are complete.
func (b *bench) sendWhileExporting(ctx context.Context, server *harness.Process, sending job) (sample, error) {
	sending = b.addressed(server, 600, sending)
	sending.UntilClosed = true
	load, err := harness.StartWorker(ctx, "load", sending)
	if err != nil {
		return sample{}, err
	}
	errs := make([]error, exportsAtOnce)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = b.export(ctx, server, b.bots.all, io.Discard) })
	}
	all.Wait()
	var f found
	err = load.Wait(ctx, &f)
	return f.sample(cost{}), errors.Join(append(errs, err)...)
}

// peakOf is the most that a server had in memory while fn ran.
func peakOf(ctx context.Context, server *harness.Process, fn func() error) (peak int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			now, err := residentOf(server)
			if err != nil {
				return // it has ended, and fn fails
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
	looking.Wait()
	return peak, err
}
