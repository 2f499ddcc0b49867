package bot_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// A table is the same table as .csv, whatever parts its fields, and as .xlsx.
func FuzzATableIsTheSameInEachFormat(f *testing.F) {
	for _, seed := range [][3]string{
		{"How?", "So.", "a,b"}, {"請問如何退票？", "<p>線上<br>申請</p>", "退票；訂單"}, {" q ", "a\nb", ""}, {"=1+1", "-2", "@x"}, {`"`, `""`, `","`}, {"a;b", "c\td", ";"}, {"", "answer", "x"}, {"question", "", "x"}, {"1", "2.0", "TRUE"},
	} {
		f.Add(seed[0], seed[1], seed[2], byte(0))
		f.Add(seed[0], seed[1], seed[2], byte(1))
	}
	f.Fuzz(func(t *testing.T, question, answer, labels string, parted byte) {
		cells := []string{question, answer, labels}
		for _, cell := range cells {
			// What a cell of one format cannot hold, or holds in other words.
			if !utf8.ValidString(cell) || len(cell) > 2000 || strings.ContainsFunc(cell, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' || r == '\ufffe' || r == '\uffff' || r == '_' || r == '\ufeff'
			}) {
				return
			}
		}
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.Comma = rune(",;\t"[parted%3])
		_ = w.WriteAll([][]string{{"question", "answer", "labels"}, cells}) // to memory
		book := excelize.NewFile()
		for i, cell := range cells {
			column := string(rune('A' + i))
			if err := book.SetCellStr("Sheet1", column+"1", []string{"question", "answer", "labels"}[i]); err != nil {
				t.Fatal(err)
			}
			if err := book.SetCellStr("Sheet1", column+"2", cell); err != nil {
				t.Fatal(err)
			}
		}
		var file bytes.Buffer
		if err := book.Write(&file); err != nil {
			t.Fatal(err)
		}
		fromText, textErr := bot.Entries(text.Bytes())
		fromBook, bookErr := bot.Entries(file.Bytes())
		if textErr != nil || bookErr != nil {
			t.Fatalf("%q: %v, %v", cells, textErr, bookErr)
		}
		if !reflect.DeepEqual(fromText, fromBook) {
			t.Fatalf("%q: as text %+v, as a workbook %+v", cells, fromText, fromBook)
		}
	})
}

// Whatever the name: its slug is one that a chatbot may have, and that can be told from an id.
func FuzzSlug(f *testing.F) {
	for _, seed := range []string{"", "Parley", "  Café  crème ", "客服", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01", strings.Repeat("a-", 100), strings.Repeat("x", 200), "---", "İ", "ǅ", "ﬁ", "½", "a'b", "\xff", "A_B/C", "²"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, name string, unique bool) {
		slug, err := bot.SlugOf(name, unique)
		if err != nil || !bot.IsSlug(slug) {
			t.Fatalf("%q becomes %q: %v", name, slug, err)
		}
		if again, err := bot.SlugOf(slug, false); err != nil || !unique && again != slug && len(slug) < 50 {
			t.Fatalf("%q becomes %q, and that %q: %v", name, slug, again, err)
		}
	})
}

// A script is kept as it is, and a rule that matches says its deltas up to where it fails.
func FuzzScript(f *testing.F) {
	for _, seed := range []string{
		`{"rules":[{"deltas":["One ","moment."],"delayMs":200}]}`, `{"rules":[{"match":"HELLO","deltas":["Hi"]},{"deltas":[]}]}`, `{"rules":[{"deltas":["a","b"],"failAfter":1,"silentAfter":1}]}`, `{"rules":null}`, `{}`,
		`{"rules":[{"match":"","deltas":["\u0000","<&>\u2028"],"suggestions":[{"text":"t","context":"c"}],"failAfter":0}]}`, `{"rules":[{"deltas":["a"],"failAfter":99}]}`,
	} {
		f.Add([]byte(seed), "hello")
	}
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		var script bot.Script
		if json.Unmarshal(raw, &script) != nil {
			return
		}
		for _, rule := range script.Rules {
			if rule.FailAfter != nil && *rule.FailAfter < 0 || rule.SilentAfter != nil && *rule.SilentAfter < 0 {
				return // the document refuses it
			}
		}
		stored, err := script.Stored()
		if err != nil {
			if !apperr.Is(err, apperr.InvalidRequest) {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		var again bot.Script
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatalf("%s is stored as %s: %v", raw, stored, err)
		}
		if twice, err := again.Stored(); err != nil || !bytes.Equal(twice, stored) {
			t.Fatalf("%s is stored as %s, and that as %s: %v", raw, stored, twice, err)
		}
		said, ok, err := bot.Says(stored, text)
		if !ok {
			return
		}
		if err != nil && !apperr.Is(err, apperr.UpstreamFailed) {
			t.Fatalf("%s: %v", raw, err)
		}
		for _, rule := range again.Rules { // one of them has said it
			whole := strings.Join(rule.Deltas, "")
			if said == whole || err != nil && rule.FailAfter != nil && strings.HasPrefix(whole, said) {
				return
			}
		}
		t.Fatalf("%s says %q", raw, said)
	})
}

// What a model's server answers is read the same however its bytes arrive, and what it says is text.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n", "data:{\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\r\n\r\ndata: [DONE]", ": comment\n\nevent: x\ndata: {}\n\n", "data: {\n data: }\n",
		`{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}`, `{"error":{"message":"no"}}`, "", "\n\n\n", "<html>", "data: {\"error\":\"x\"}\n\n", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n",
		"\ufeffdata: [DONE]\n\n", "data: \xff\n\n", "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1e400}}\n\n", "\rdata: [DONE]\r\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said, atOnce := bot.ReadReply(bytes.NewReader(body))
		for how, reader := range map[string]io.Reader{
			"byte by byte": iotest.OneByteReader(bytes.NewReader(body)), "half by half": iotest.HalfReader(bytes.NewReader(body)), "the end with bytes": iotest.DataErrReader(bytes.NewReader(body)),
		} {
			if _, got := bot.ReadReply(reader); got != atOnce {
				t.Fatalf("%q at once is %s, %s %s", body, atOnce, how, got)
			}
		}
		if !utf8.ValidString(said) {
			t.Fatalf("%q says %q", body, said)
		}
	})
}
