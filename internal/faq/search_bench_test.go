package faq_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/internal/bot"
)

// BenchmarkSearch asks a chatbot with the FAQs of a shop for 400 companies, about 10,000 entries,
// in which most terms occur hundreds of times. It reports the median and the 95th percentile.
func BenchmarkSearch(b *testing.B) {
	f := newFixture(b)
	entries := readEntries(b, "testdata/zh.json")
	owner := f.createBot(b, "Large")
	var file bytes.Buffer
	w := csv.NewWriter(&file)
	_ = w.Write([]string{"question", "answer"})
	const companies = 400
	for company := range companies {
		for _, e := range entries {
			_ = w.Write([]string{fmt.Sprintf("%c%c公司：%s", '甲'+rune(company/20), '子'+rune(company%20), e.Question), e.Answer})
		}
	}
	w.Flush()
	if result, err := f.faqs.Import(b.Context(), f.org, owner.Slug, file.Bytes(), nil); err != nil || result.Created != companies*len(entries) {
		b.Fatalf("import: %+v, %v", result, err)
	}
	var questions []string
	for _, e := range entries {
		questions = append(questions, e.Paraphrases...)
	}
	var durations []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		question := bot.Question{Bot: owner, Text: questions[i%len(questions)]}
		if _, err := f.bots.Respond(b.Context(), question, func(string) error { return nil }); err != nil {
			b.Fatal(err)
		}
		durations = append(durations, time.Since(start))
	}
	slices.Sort(durations)
	b.ReportMetric(float64(durations[len(durations)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(durations[len(durations)*19/20].Microseconds())/1000, "ms/p95")
}
