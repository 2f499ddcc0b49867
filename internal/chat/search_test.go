package chat_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

// words are parts of texts and keywords: scripts, letter cases, and special characters of patterns.
var words = []string{
	"退票", "退", "票", "我想要", "謝謝", "中文", "文", "中", "，", "。", "カタカナ", "ー", "ひらがな", "ﾊﾝｶｸ", "々", "〇", "ㄅㄆ", "𠮷野", "豈", "한국어", "글", "ᄀᄂ",
	"refund", "Refund", "REFUND", "fun", "to", "a", "B", "İstanbul", "ısı", "i", "I", "ß", "ẞ", "STRASSE", "straße", "ſ", "K", "k",
	"ΟΔΟΣ", "οδος", "Σ", "ς", "σ", "été", "ÉTÉ", "Ж", "ж", "Ａｂ", "ａＢ", "１２", "ไทย", "हिन्दी", "עברית", "ǅ", "ﬁ",
	"e\u0301te\u0301", "é", "カ\u3099", "ガ", "\u1112\u116a\u11ab", "환", "a\u0323\u0302", "a\u0302\u0323", "ậ", "\u212b", "Å", "\u2329", "〈",
	"😀", "👩‍👩‍👧", "️", "%", "_", `\`, `\%`, "'", `"`, "0", "00", "7", " ", "  ", "\n", "\t", "-", ".",
}

// randomText returns a text of up to most words.
func randomText(random *rand.Rand, most int) string {
	var text strings.Builder
	for range 1 + random.IntN(most) {
		text.WriteString(words[random.IntN(len(words))])
	}
	return text.String()
}

// randomKeyword returns a part of a text, possibly in another case, or words that may not occur.
func randomKeyword(random *rand.Rand, texts []string) string {
	if random.IntN(4) == 0 {
		return randomText(random, 3)
	}
	text := []rune(texts[random.IntN(len(texts))])
	from := random.IntN(len(text))
	part := string(text[from : from+1+random.IntN(min(len(text)-from, 8))])
	switch random.IntN(4) {
	case 0:
		return strings.ToUpper(part)
	case 1:
		return strings.ToLower(part)
	case 2:
		return string(unicode.SimpleFold([]rune(part)[0]))
	}
	return part
}

func TestSearchFindsTheSameWithoutIndex(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.Store.SetSearchIndex(t.Context(), slog.New(slog.DiscardHandler), true); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	kim := f.User(t, "王小明 ﬁ")
	webChat := f.WebChat(t, "Website")
	texts := f.randomConversations(t, random, []auth.Principal{f.User(t, "Alex"), kim}, webChat)
	plain := f.Instance(t, chattest.Config{WithoutSearchIndex: true})
	// Thresholds that select each search strategy: few matches, many matches nearby, many matches far away.
	indexed := map[string]*chattest.Domain{}
	for name, bounds := range map[string][3]int32{"few": {0, 5000, 1000}, "near": {0, 2, 30}, "far": {0, 1, 1}} {
		indexed[name] = f.Instance(t, chattest.Config{})
		indexed[name].SetSearchThresholds(bounds[0], bounds[0], bounds[1], bounds[2])
	}
	callers := map[string]auth.Principal{"the staff": f.User(t, "Agent", auth.Agent), "a user": kim}
	keywords := []string{"退票", "票", "refund", "İ", "i", "ß", "ẞ", "k", "ς", "Σ", "a", "0", "%", "_", `\`, "％", string([]rune(texts[2])[:200]), strings.Repeat("退", 200)}
	for range 40 {
		keywords = append(keywords, randomKeyword(random, texts))
	}

	hits := 0
	for _, keyword := range keywords {
		filter := chat.InboxFilter{Keyword: &keyword, ByCreation: random.IntN(2) == 0, Limit: 5 + random.IntN(20)}
		if random.IntN(4) == 0 {
			filter.InboxID = new(webChat.InboxID.String())
		}
		for name, caller := range callers {
			want := allPages(t, plain, caller, filter)
			hits += len(want[0])
			for way, d := range indexed {
				if found := allPages(t, d, caller, filter); !slices.EqualFunc(found, want, slices.Equal) {
					t.Errorf("%q for %s by %s found %v, want %v (by creation: %t, pages of %d)", keyword, name, way, found, want, filter.ByCreation, filter.Limit)
				}
			}
		}
	}
	if hits < 300 {
		t.Errorf("found %d conversations, want at least 300", hits)
	}
}

// randomConversations creates conversations of two users with random titles and messages, and some
// of the same messages in another organization. It returns their texts.
func (f fixture) randomConversations(t *testing.T, random *rand.Rand, callers []auth.Principal, webChat db.WebChat) []string {
	t.Helper()
	texts := []string{callers[0].UserName, callers[1].UserName, strings.Repeat("退票 Refund ", 20)}
	for i := range 60 {
		caller := callers[i%2]
		conversation := f.NewConversation(t, caller)
		if i%5 == 0 {
			created, err := f.Create(t.Context(), caller, webChat.ID.String(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			conversation = created.Session.ID.String()
		}
		change := chat.Change{AutoReply: new(false)}
		if i%3 == 0 {
			title := randomText(random, 4)
			texts = append(texts, title)
			change.Title = &title
		}
		if _, err := f.Update(t.Context(), caller, conversation, change); err != nil {
			t.Fatal(err)
		}
		for range random.IntN(4) {
			content := "x" + randomText(random, 12)
			texts = append(texts, content)
			f.Say(t, caller, conversation, content)
		}
	}
	f.Say(t, callers[0], f.NewConversation(t, callers[0]), texts[2])
	other := f.OtherOrganization(t)
	stranger := other.User(t, "Alex", auth.Agent)
	foreign := other.NewConversation(t, stranger)
	for i := range 20 {
		other.Say(t, stranger, foreign, texts[i])
	}
	return texts
}

// allPages returns the conversations of all pages of a list, forward and back.
func allPages(t *testing.T, d *chattest.Domain, caller auth.Principal, filter chat.InboxFilter) [][]string {
	t.Helper()
	var pages [][]string
	next := func() chat.ConversationPage {
		page, err := d.ListInbox(t.Context(), caller, filter)
		if err != nil {
			t.Fatalf("%q: %v", *filter.Keyword, err)
		}
		pages = append(pages, idsOf(page))
		return page
	}
	page := next()
	for page.NextCursor != "" {
		filter.Cursor = page.NextCursor
		page = next()
	}
	for page.PreviousCursor != "" {
		filter.Cursor = page.PreviousCursor
		page = next()
	}
	return pages
}

func TestTwoChineseCharactersUseTheIndex(t *testing.T) {
	t.Parallel()
	// given too many messages for a walk
	f := newFixture(t)
	if err := f.Store.SetSearchIndex(t.Context(), slog.New(slog.DiscardHandler), true); err != nil {
		t.Fatal(err)
	}
	alex := f.User(t, "Alex", auth.Agent)
	conversation := f.NewConversation(t, alex)
	f.Say(t, alex, conversation, "我想要退票，謝謝，Refund Café カ\u3099イド 환불")
	conn, err := pgx.Connect(t.Context(), f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, fill := range []string{
		`INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		 SELECT m.organization_id, gen_random_uuid(), m.session_id, 1 + n, 'user', '第' || n || '個訂單 order', m.created_at
		 FROM message_history m, generate_series(1, 10000) n`,
		"UPDATE sessions SET last_seq = 10001",
		"SELECT gin_clean_pending_list('message_history_by_form')", // as a server does
		"ANALYZE message_history",
		"SET plan_cache_mode = force_custom_plan",
		"SET enable_seqscan = off",
	} {
		if _, err := conn.Exec(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
	}
	c := f.Domain
	for keyword, isFound := range map[string]bool{"退票": true, "票退": false, "想要退": true, "REFUND": true, "refunds": false, "訂單": true, "order": true, "ＣＡＦE\u0301": false, "CAFE\u0301": true, "ガイト\u3099": true, "\u1112\u116a\u11ab불": true} {
		// when it is searched
		page, err := c.ListInbox(t.Context(), alex, chat.InboxFilter{Keyword: &keyword, Limit: 10})
		if err != nil || (len(page.Conversations) == 1) != isFound {
			t.Errorf("%q found %v, %v, want it found: %t", keyword, idsOf(page), err, isFound)
		}
		// then the plan uses the index
		plan, err := db.New(conn).PlanKeywordSearch(t.Context(), db.PlanKeywordSearchParams{Keyword: keyword, OrganizationID: f.Organization, IsStaff: true, ConversationThreshold: 500, MessageThreshold: 5000})
		if err != nil || !plan.CanUseIndexes || plan.IsSmall {
			t.Fatalf("the plan of %q is %v, %v, want the indexes", keyword, plan, err)
		}
		explained := &explaining{Conn: conn}
		_, _ = db.New(explained).SearchSessions(t.Context(), db.SearchSessionsParams{
			OrganizationID: f.Organization, IndexedPattern: plan.Pattern, SpacedPattern: plan.SpacedPattern, Pattern: store.ContainsPattern(store.SearchText(keyword)), IgnoreCase: true, MatchLimit: 5000,
		}) // the rows are EXPLAIN's and cannot be scanned
		if !strings.Contains(explained.plan, "message_history_by_form") {
			t.Errorf("%q is searched without the index:\n%s", keyword, explained.plan)
		}
	}
	// A single character has no trigram and is found without the index.
	plan, err := db.New(conn).PlanKeywordSearch(t.Context(), db.PlanKeywordSearchParams{Keyword: "票", OrganizationID: f.Organization, IsStaff: true, ConversationThreshold: 500, MessageThreshold: 5000})
	if err != nil || plan.CanUseIndexes {
		t.Errorf("the plan of a single character is %v, %v, want no indexes", plan, err)
	}
	if found := idsOf(f.list(t, alex, chat.InboxFilter{Keyword: new("票"), Limit: 10})); !slices.Equal(found, []string{conversation}) {
		t.Errorf("a single character found %v", found)
	}
}

// explaining is a connection that explains its query instead of running it.
type explaining struct {
	*pgx.Conn
	plan string
}

func (e *explaining) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := e.Query(ctx, "EXPLAIN "+sql, args...)
	if err == nil {
		lines, _ := pgx.CollectRows(rows, pgx.RowTo[string])
		e.plan = strings.Join(lines, "\n")
	}
	return rows
}
