package bot_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/internal/bot"
)

// BenchmarkSearch asks a bot with 10,000 entries, and tells the median and the slowest of twenty. They are those of a shop
// for 400 companies: most terms are in hundreds of entries.
func BenchmarkSearch(b *testing.B) {
	bots, org := open(b)
	entries := readKnown(b, "testdata/zh.json")
	owner, err := bots.Create(b.Context(), org, bot.NewBot{Name: "Large"})
	if err != nil {
		b.Fatal(err)
	}
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
	if done, err := bots.ImportFAQs(b.Context(), org, owner.Slug, file.Bytes(), nil); err != nil || done.Created != companies*len(entries) {
		b.Fatalf("%+v, %v", done, err)
	}
	var asked []string
	for _, e := range entries {
		asked = append(asked, e.Asked...)
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		question := bot.Question{Bot: owner, Text: asked[i%len(asked)]}
		if _, err := bots.Respond(b.Context(), question, func(string) error { return nil }); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)*19/20].Microseconds())/1000, "ms/p95")
}
