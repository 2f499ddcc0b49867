package main

import (
	"context"
	"fmt"
	"net/url"
)

// rowHistory is row 4.
func (b *bench) rowHistory() row {
	return row{
		number: "4", prepare: b.writeScripts,
		lines: []line{{
			what: fmt.Sprintf("GET history of 50, %d connections: rate / pgbench with the same query", b.connections),
			must: atLeast(0.3), aim: atLeast(0.5), format: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			reference, err := b.runPgbench(ctx, seconds, b.scripts.history)
			if err != nil {
				return nil, fmt.Errorf("the history in pgbench: %w", err)
			}
			ours, err := b.measureLoad(ctx, b.server, seconds, b.onUnanswered(getHistory, b.connections))
			return []measurement{{ours.rate / reference.rate, ours, reference}}, err
		},
	}
}

// getOne is a load of one request over one connection.
func getOne(key, path string) loadJob {
	return loadJob{Kind: get, Connections: 1, Keys: []string{key}, Path: path}
}

// rowPages is row 5.
func (b *bench) rowPages() row {
	history := "/api/conversations/" + idOf(deepIDs, 0) + "/history?limit=50"
	const mine, inbox = "/api/conversations?limit=20", "/api/conversations/?pageSize=20"
	deepPage := fmt.Sprintf("%s&before_seq=%d", history, deepMessages-99*50+1)
	return row{
		number: "5",
		lines: []line{
			{what: "GET history, page 100: p50 / page 1", must: atMost(1.3), aim: atMost(1.1), format: p50},
			{what: "GET /api/conversations of a user with 5,000: p50 / a user with 20", must: atMost(1.3), aim: atMost(1.1), format: p50},
			{what: "GET /api/conversations/ of the whole organization: p50 / a user with 20", format: p50},
		},
		prepare: func(ctx context.Context) error { return b.checkPages(ctx, deepPage, mine, inbox) },
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			return b.compareLatencies(ctx, seconds, [][2]loadJob{
				{getOne(b.agent, deepPage), getOne(b.agent, history)},
				{getOne(b.many, mine), getOne(b.few, mine)},
				{getOne(b.agent, inbox), getOne(b.few, inbox)},
			})
		},
	}
}

// checkPages checks that the pages of row 5 have the expected contents.
func (b *bench) checkPages(ctx context.Context, deepPage, mine, inbox string) error {
	var history struct{ Messages []struct{ Seq int } }
	var list struct {
		Total         int
		Conversations []struct{}
	}
	var all struct{ Results []struct{} }
	if err := b.get(ctx, b.agent, deepPage, &history); err != nil {
		return err
	}
	if n := len(history.Messages); n != 50 || history.Messages[0].Seq+history.Messages[n-1].Seq != 2*deepMessages-2*99*50-49 {
		return fmt.Errorf("page 100 of the history is wrong: %d messages", n)
	}
	if err := b.get(ctx, b.many, mine, &list); err != nil {
		return err
	}
	if list.Total != manyConversations || len(list.Conversations) != 20 {
		return fmt.Errorf("a user's list has %d of %d conversations, want 20 of %d", len(list.Conversations), list.Total, manyConversations)
	}
	if err := b.get(ctx, b.agent, inbox, &all); err != nil {
		return err
	}
	if len(all.Results) != 20 {
		return fmt.Errorf("a page of all conversations has %d, want 20", len(all.Results))
	}
	return nil
}

// compareLatencies compares pairs of loads.
func (b *bench) compareLatencies(ctx context.Context, seconds int, pairs [][2]loadJob) ([]measurement, error) {
	var measurements []measurement
	for _, pair := range pairs {
		// One connection makes hundreds of requests per second, which is enough.
		m, err := b.compareLatency(ctx, min(seconds, 2), pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		measurements = append(measurements, m)
	}
	return measurements, nil
}

// rowRecords is row 6.
func (b *bench) rowRecords() row {
	page := func(bot string, number int) string {
		return b.recordsPath(bot, "") + fmt.Sprintf("&pageSize=20&page=%d", number)
	}
	return row{
		number: "6", needsRecords: true,
		lines: []line{
			{what: fmt.Sprintf("GET records of a month with %d, page 500: p50 / page 1", monthRecords), must: atMost(5), aim: atMost(1.5), format: p50},
			{what: fmt.Sprintf("page 1 with the exact total of %d: p50 / page 1 of 20 records", monthRecords), must: atMost(5), aim: atMost(1.5), format: p50},
			{what: fmt.Sprintf("page 1 with the exact total of %d: p50 / page 1 of 20 records", b.records), format: p50},
		},
		prepare: func(ctx context.Context) error {
			for bot, want := range map[string]int{b.bots.month: monthRecords, b.bots.few: fewRecords, b.bots.all: b.records} {
				var list struct {
					Count   int
					Results []struct{}
				}
				if err := b.get(ctx, b.admin, page(bot, 1), &list); err != nil {
					return err
				}
				if list.Count != want || len(list.Results) != 20 {
					return fmt.Errorf("a page has %d of %d records, want 20 of %d", len(list.Results), list.Count, want)
				}
			}
			return nil
		},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			reference := getOne(b.admin, page(b.bots.few, 1))
			return b.compareLatencies(ctx, seconds, [][2]loadJob{
				{getOne(b.admin, page(b.bots.month, 500)), getOne(b.admin, page(b.bots.month, 1))},
				{getOne(b.admin, page(b.bots.month, 1)), reference},
				{getOne(b.admin, page(b.bots.all, 1)), reference},
			})
		},
	}
}

// rowSearch is informational and has no number.
func (b *bench) rowSearch() row {
	format := func(s sample) string {
		if s.requests == 0 {
			return "no answer: " + s.note
		}
		return p50(s)
	}
	return row{
		number: "search",
		lines: []line{
			{what: fmt.Sprintf("GET /api/conversations/?keyword= with two Chinese characters, in 1 of %d messages: p50", rareEvery), unit: "ms", format: format},
			{what: "same, in no message: p50", unit: "ms", format: format},
			{what: "same, in a tenth of all messages: p50", unit: "ms", format: format},
		},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			var measurements []measurement
			for _, keyword := range []string{rareWord, absentWord, commonWord} {
				job := getOne(b.agent, "/api/conversations/?pageSize=20&keyword="+url.QueryEscape(keyword))
				job.MayFail = true
				ours, err := b.measureLoad(ctx, b.server, min(seconds, 2), job)
				if err != nil {
					return nil, err
				}
				measurements = append(measurements, measurement{float64(ours.p50.Microseconds()) / 1000, ours, sample{}})
			}
			return measurements, nil
		},
	}
}
