package main

import (
	"context"
	"fmt"
	"net/url"
)

// histories is row 4.
func (b *bench) histories() row {
	return row{
		number: "4", prepare: b.writeScripts,
		lines: []line{{
			what: fmt.Sprintf("GET history of 50, %d connections: rate / pgbench's with the same query", b.connections),
			must: atLeast(0.3), aim: atLeast(0.5), shows: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			limit, err := b.inPgbench(ctx, seconds, b.scripts.history)
			if err != nil {
				return nil, fmt.Errorf("the history in pgbench: %w", err)
			}
			ours, err := b.overHTTP(ctx, b.server, seconds, b.talking(getHistory, b.connections))
			return []finding{{ours.rate / limit.rate, ours, limit}}, err
		},
	}
}

// getting is a load of one request, over one connection.
func getting(key, path string) job {
	return job{Kind: get, Connections: 1, Keys: []string{key}, Path: path}
}

// pages is row 5.
func (b *bench) pages() row {
	talk := "/api/conversations/" + idOf(deepTalks, 0) + "/history?limit=50"
	const mine, inbox = "/api/conversations?limit=20", "/api/conversations/?pageSize=20"
	deep := fmt.Sprintf("%s&before_seq=%d", talk, deepMessages-99*50+1)
	return row{
		number: "5",
		lines: []line{
			{what: "GET history, 100 pages deep: p50 / page 1's", must: atMost(1.3), aim: atMost(1.1), shows: p50},
			{what: "GET /api/conversations of a user with 5,000: p50 / of one with 20", must: atMost(1.3), aim: atMost(1.1), shows: p50},
			{what: "GET /api/conversations/ of the whole organization: p50 / of a user with 20", shows: p50},
		},
		prepare: func(ctx context.Context) error {
			var history struct{ Messages []struct{ Seq int } }
			var list struct {
				Total         int
				Conversations []struct{}
			}
			var all struct{ Results []struct{} }
			if err := b.get(ctx, b.agent, deep, &history); err != nil {
				return err
			}
			if n := len(history.Messages); n != 50 || history.Messages[0].Seq+history.Messages[n-1].Seq != 2*deepMessages-2*99*50-49 {
				return fmt.Errorf("page 100 of the history is not what it should be: %d messages", n)
			}
			if err := b.get(ctx, b.many, mine, &list); err != nil {
				return err
			}
			if list.Total != manyTalks || len(list.Conversations) != 20 {
				return fmt.Errorf("a user's list has %d of %d conversations, where there are %d", len(list.Conversations), list.Total, manyTalks)
			}
			if err := b.get(ctx, b.agent, inbox, &all); err != nil {
				return err
			}
			if len(all.Results) != 20 {
				return fmt.Errorf("a page of all conversations has %d", len(all.Results))
			}
			return nil
		},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			return b.slowerEach(ctx, seconds, [][2]job{
				{getting(b.agent, deep), getting(b.agent, talk)},
				{getting(b.many, mine), getting(b.few, mine)},
				{getting(b.agent, inbox), getting(b.few, inbox)},
			})
		},
	}
}

func (b *bench) slowerEach(ctx context.Context, seconds int, pairs [][2]job) ([]finding, error) {
	var findings []finding
	for _, pair := range pairs {
		// A second over one connection is hundreds of requests.
		one, err := b.slower(ctx, min(seconds, 2), pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		findings = append(findings, one)
	}
	return findings, nil
}

// recordPages is row 6.
func (b *bench) recordPages() row {
	const size = "&pageSize=20"
	page := func(of string, number int) string {
		return b.recordsPath(of, "") + fmt.Sprintf("%s&page=%d", size, number)
	}
	return row{
		number: "6", ofRecords: true,
		lines: []line{
			{what: fmt.Sprintf("GET records of a month with %d, page 500: p50 / page 1's", monthRecords), must: atMost(5), aim: atMost(1.5), shows: p50},
			{what: fmt.Sprintf("its page 1 with the exact total of %d: p50 / page 1 of 20 records", monthRecords), must: atMost(5), aim: atMost(1.5), shows: p50},
			{what: fmt.Sprintf("page 1 with the exact total of %d: p50 / page 1 of 20 records", b.records), shows: p50},
		},
		prepare: func(ctx context.Context) error {
			for of, want := range map[string]int{b.bots.month: monthRecords, b.bots.few: fewRecords, b.bots.all: b.records} {
				var list struct {
					Count   int
					Results []struct{}
				}
				if err := b.get(ctx, b.admin, page(of, 1), &list); err != nil {
					return err
				}
				if list.Count != want || len(list.Results) != 20 {
					return fmt.Errorf("a page has %d of %d records, where there are %d", len(list.Results), list.Count, want)
				}
			}
			return nil
		},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			first := getting(b.admin, page(b.bots.few, 1))
			return b.slowerEach(ctx, seconds, [][2]job{
				{getting(b.admin, page(b.bots.month, 500)), getting(b.admin, page(b.bots.month, 1))},
				{getting(b.admin, page(b.bots.month, 1)), first},
				{getting(b.admin, page(b.bots.all, 1)), first},
			})
		},
	}
}

// searches has no number: nothing is asked of it.
func (b *bench) searches() row {
	of := func(keyword string) job {
		j := getting(b.agent, "/api/conversations/?pageSize=20&keyword="+url.QueryEscape(keyword))
		j.MayFail = true
		return j
	}
	shows := func(s sample) string {
		if s.requests == 0 {
			return "no answer: " + s.note
		}
		return p50(s)
	}
	return row{
		number: "search",
		lines: []line{
			{what: fmt.Sprintf("GET /api/conversations/?keyword= with two Chinese characters, in 1 of %d messages: ms (p50)", rareEvery), unit: "ms", shows: shows},
			{what: "the same, in no message: ms (p50)", unit: "ms", shows: shows},
			{what: "the same, in a tenth of all messages: ms (p50)", unit: "ms", shows: shows},
		},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			var findings []finding
			for _, keyword := range []string{rareWord, absentWord, commonWord} {
				measured, err := b.overHTTP(ctx, b.server, min(seconds, 2), of(keyword))
				if err != nil {
					return nil, err
				}
				findings = append(findings, finding{float64(measured.p50.Microseconds()) / 1000, measured, sample{}})
			}
			return findings, nil
		},
	}
}
