package chat_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"parley/gen/db"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// The index patterns match every text whose canonical form contains the keyword by ILIKE, the comparison without the
// index. A keyword with special characters matches itself.
func FuzzSearchPatterns(f *testing.F) {
	conn, err := pgx.Connect(f.Context(), dbtest.URL(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close(context.WithoutCancel(f.Context())) })
	queries := db.New(conn)
	for _, seed := range [][2]string{{"我要退票", "退票"}, {"Refund 退款", "fund 退"}, {"50% off_", "% off_"}, {`a\b`, `\`}, {"İstanbul", "i"}, {"ΟΔΟΣ", "οδος"}, {"straße", "SSE"}, {"0", "0"}, {"退0票", "退票"}, {"", ""}, {"a\nb", "\n"}, {"ﬁ", "f"}, {"한국어", "국"}, {"cafe\u0301", "É"}, {"カ\u3099", "ガ"}, {"〈", "\u2329"}} {
		f.Add(seed[0], seed[1], 0, 3)
	}
	f.Fuzz(func(t *testing.T, text, keyword string, from, length int) {
		text, keyword = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?"), strings.ReplaceAll(strings.ToValidUTF8(keyword, "?"), "\x00", "?")
		runes := []rune(text)
		from = int(uint(from) % uint(len(runes)+1))
		part := string(runes[from : from+int(uint(length)%uint(len(runes)-from+1))])
		for _, keyword := range []string{keyword, part, strings.ToUpper(part), strings.ToLower(part)} {
			mustContain := strings.Contains(norm.NFC.String(text), store.SearchText(keyword))
			if keyword = store.SearchText(keyword); keyword == "" {
				continue
			}
			plan, err := queries.PlanKeywordSearch(t.Context(), db.PlanKeywordSearchParams{Keyword: keyword})
			if err != nil {
				t.Fatalf("%q: %v", keyword, err)
			}
			var contains, isIndexed, matchesItself bool
			err = conn.QueryRow(t.Context(), `SELECT canonical($1) ILIKE $2, search_form($1) LIKE $3 OR search_form($1) LIKE $4, $5 ILIKE $2`,
				text, store.ContainsPattern(keyword), plan.Pattern, plan.SpacedPattern, keyword).Scan(&contains, &isIndexed, &matchesItself)
			switch {
			case err != nil:
				t.Fatalf("%q in %q: %v", keyword, text, err)
			case contains && !isIndexed:
				t.Fatalf("%q contains %q, but the index patterns do not match", text, keyword)
			case !matchesItself, !contains && mustContain:
				t.Fatalf("%q does not match %q or itself", keyword, text)
			}
		}
	})
}
