package xlsx_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"parley/internal/xlsx"
)

// hostileTexts holds texts that careless or malicious users type.
var hostileTexts = func() []string {
	texts := []string{
		"_x0041_", "_x0041_x0042_", "_x005F_", "_x005f_x0041_", "_x0041\x01", "_x1\ufffe", "_x1_", "_x12_", "_x_", "_x", "_",
		"_xD800_", "_x000D_", "__x0041__", "_X0041_", "_x0041", "_x00410_", "_xé_", "_x0041&", "snake_x1_case",
		"a\nb", "a\r\nb", "a\rb", "\n", "\r", "\r\n", "\n\n a \n\n", "\ta\t", "  before", "after  ", "   ", "\u3000x\u00a0",
		"a\u0085b\u2028c\u2029d", "😀👩‍👩‍👧‍👦", "שלום עולם", "\u202eabc\u202c", "مرحبا", "e\u0301", "用戶輸入訊息",
		"&<>\"'", "]]>", "<![CDATA[x]]>", "&amp;", "&#13;", "<f>1+1</f>", "</t></is></c>", "\ufffd", "\ufdd0",
		"\ufffe", "x\uffffy", "\U0001FFFE", "\U0010FFFF", "\ue000", "\ufeff", "\x7f", "\u009f", "\uf001\ufffc",
		"00123", "1e5", "1234567890123456789012345678901234567890", "0.1", "TRUE", "#N/A", "2026-01-01", "1/2", "null", "%s", "~",
		strings.Repeat("x", 32_767), strings.Repeat("😀", 16_383) + "y", strings.Repeat("\x01", 32_767),
	}
	for _, sign := range []string{
		"=", "+", "-", "@", " =", "\t=", "\r=", "\n=", "\u3000=", "\u00a0=", "'=", "\"=", ";=", "{=", "\u200b=", "\ufeff=",
		"＝", "＋", "－", "＠", "﹦", "⁼", "＝＝", "|", "%",
	} {
		for _, rest := range []string{"1+1", "A1", "cmd|' /C calc'!A0", `HYPERLINK("http://evil.example","x")`, "SUM(1;2)", ""} {
			texts = append(texts, sign+rest)
		}
	}
	for c := range rune(' ') {
		texts = append(texts, string(c), fmt.Sprintf("a%cb", c))
	}
	return texts
}()

func TestTextReadsBackUnchanged(t *testing.T) {
	t.Parallel()
	checkReadsBack(t, hostileTexts)
}

func TestRandomTextReadsBack(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	texts := make([]string, 3000)
	for i := range texts {
		texts[i] = randomText(random)
	}
	checkReadsBack(t, texts)
}

// randomText combines pieces that could confuse the escaping.
func randomText(random *rand.Rand) string {
	pieces := []string{"_", "_x", "_x00", "x0041_", "_x0041_", "=", "&", "<", "]]>", "\r", "\n", " ", "\ufffe", "😀", "中"}
	text := "."
	for range random.IntN(12) {
		switch random.IntN(4) {
		case 0:
			text += string(rune(random.IntN(' ')))
		case 1:
			text += strconv.FormatInt(random.Int64N(16), 16)
		case 2:
			text += string(rune(random.IntN(utf8.MaxRune + 1))) // surrogates become U+FFFD
		default:
			text += pieces[random.IntN(len(pieces))]
		}
	}
	return text
}

// checkReadsBack writes the texts to a column and reads them with excelize.
func checkReadsBack(t *testing.T, texts []string) {
	t.Helper()
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet("Records", xlsx.Column{Title: "Text"}, xlsx.Column{Title: "Number"})
		for i, text := range texts {
			book.Text(text)
			book.Number(float64(i))
			book.EndRow()
		}
	})
	rows := rowsOf(t, file, "Records")[1:]
	if len(rows) != len(texts) {
		t.Fatalf("%d rows, want %d", len(rows), len(texts))
	}
	for i, text := range texts {
		if rows[i][0] != text {
			t.Errorf("%+.80q reads back as %+.80q", text, rows[i][0])
		}
		if rows[i][1] != strconv.Itoa(i) {
			t.Errorf("the number beside %+.80q is %q", text, rows[i][1])
		}
	}
	for name, content := range parts(t, file) {
		if strings.Contains(content, "<f>") || strings.Contains(content, "<f ") {
			t.Errorf("%s contains a formula", name)
		}
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a\xffb":         "a\ufffdb",
		"\xed\xa0\x80":   "\ufffd", // an encoded surrogate
		"cut \xe4\xbd":   "cut \ufffd",
		"\xef":           "\ufffd",
		"ok\xc0\xaf_x1_": "ok\ufffd_x005F_x1_",
	} {
		if got := string(xlsx.AppendText(nil, text)); got != want {
			t.Errorf("%q is written as %q, want %q", text, got, want)
		}
	}
}

func TestCutFillsCellsAndLosesNothing(t *testing.T) {
	t.Parallel()
	const mark = "… [continued 😀]"
	for name, text := range map[string]string{
		"one unit each":        strings.Repeat("x", 100_000),
		"two units each":       strings.Repeat("😀", 40_000),
		"a pair at the edge":   "x" + strings.Repeat("😀", 40_000),
		"three bytes each":     strings.Repeat("中", 40_000),
		"one more than a cell": strings.Repeat("x", 32_768),
		"one pair too many":    strings.Repeat("x", 32_766) + "😀",
		"not UTF-8":            strings.Repeat("\xff\xfe\xed", 20_000),
		"looks like an escape": strings.Repeat("_x0041_", 10_000),
		"exactly one cell":     strings.Repeat("中", 32_767),
		"short":                "short",
		"empty":                "",
	} {
		head, rest := xlsx.Cut(text, mark)
		if long := length(text) > 32_767; long != (rest != "") {
			t.Fatalf("%s: %d units left a rest of %d bytes", name, length(text), len(rest))
		}
		whole, cell := head, head+mark
		if rest == "" {
			cell = head
		}
		for piece := ""; ; whole += piece {
			full := rest != "" && length(cell) < 32_766
			if length(cell) > 32_767 || full || utf8.ValidString(text) && !utf8.ValidString(cell) {
				t.Fatalf("%s: a cell of %d units, %d bytes left", name, length(cell), len(rest))
			}
			if rest == "" {
				break
			}
			piece, rest = xlsx.Cut(rest, "")
			cell = piece
		}
		if whole != text {
			t.Errorf("%s: the pieces do not add up to the text", name)
		}
	}
}

func TestTooLongTextEndsInAnEllipsis(t *testing.T) {
	t.Parallel()
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet("Records", xlsx.Column{Title: "Text"})
		book.Text(strings.Repeat("x", 40_000))
		book.EndRow()
	})
	if got, want := rowsOf(t, file, "Records")[1][0], strings.Repeat("x", 32_766)+"…"; got != want {
		t.Errorf("got a cell of %d units that ends in %q", length(got), got[len(got)-10:])
	}
}

// length returns the length in UTF-16 units.
func length(text string) int {
	return len(utf16.Encode([]rune(text)))
}

func FuzzText(f *testing.F) {
	for _, text := range hostileTexts {
		if len(text) < 100 { // long seeds slow the fuzzer down
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		written := string(xlsx.AppendText(nil, text))
		if got, want := unescape(t, written), strings.ToValidUTF8(text, "\ufffd"); got != want {
			t.Errorf("%+q is written as %+q, which reads back as %+q", text, written, got)
		}
	})
}

var escapes = regexp.MustCompile(`_x[0-9A-Fa-f]{4}_`)

// unescape parses XML and decodes the escapes that the package comment describes.
func unescape(t *testing.T, written string) string {
	t.Helper()
	decoder, text := xml.NewDecoder(strings.NewReader("<t>"+written+"</t>")), ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%+q is not XML: %v", written, err)
		}
		if data, ok := token.(xml.CharData); ok {
			text += string(data)
		}
	}
	return escapes.ReplaceAllStringFunc(text, func(escape string) string {
		number, _ := strconv.ParseUint(escape[2:6], 16, 16)
		return string(rune(number))
	})
}
