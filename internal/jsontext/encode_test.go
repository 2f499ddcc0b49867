package jsontext_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/internal/jsontext"
)

// trickyStrings are strings that a JSON encoder must encode exactly.
func trickyStrings() []string {
	texts := []string{
		"", "plain", `"quoted" \ and / and 'so on'`, "<script>alert('&amp;')</script>", "\u2028\u2029", "… “quoted” \u2027\u202a",
		"請問我的訂單什麼時候會到?", "🙂👩‍👩‍👧", "\ufffd", "\u007f\u0080\u00a0\ufeff", "\xe2", "\xe2\x80", "\xe2\x80\xa8\xe2\x80", "\xff\xfe", "a\xc3(b", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\xc0\xaf", "\xe2\x28\xa1", "end\xe2\x80\xa9",
	}
	for b := range 256 {
		texts = append(texts, string([]byte{byte(b)}), "ab"+string([]byte{byte(b)})+"cd", string([]byte{0xe2, byte(b), 0xa8}), string([]byte{0xe2, 0x80, byte(b)}))
	}
	for r := rune(0x80); r < 0xC0; r++ {
		texts = append(texts, string(r)+"a"+string(r))
	}
	for r := rune(0x2000); r < 0x2070; r++ {
		texts = append(texts, string(r)+string(r))
	}
	return texts
}

// Strings are encoded byte for byte as by encoding/json, whatever bytes they contain, except that U+0085 is escaped.
func FuzzAppendString(f *testing.F) {
	for _, text := range trickyStrings() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := jsontext.AppendString([]byte("before"), text); string(got) != "before"+escapeNextLine(string(want)) {
			t.Errorf("%q\n got %s\nwant before%s", text, got, want)
		}
	})
}

// escapeNextLine returns JSON with U+0085 escaped.
func escapeNextLine(encoded string) string { return strings.ReplaceAll(encoded, "\u0085", `\u0085`) }

// Free-form JSON is encoded byte for byte as encoding/json encodes a RawMessage.
func FuzzAppendCompact(f *testing.F) {
	for _, text := range trickyStrings() {
		if quoted, err := json.Marshal(text); err == nil {
			f.Add(fmt.Appendf(nil, " { %s :\t[ %s , 1e999,-0.0 ] ,\r\n\"a b\\\" c\\\\\": \"%s\" } \n", quoted, quoted, text))
		}
	}
	f.Add([]byte(`"\\" `))
	f.Add([]byte(`{"\u003c":"\ud800","<":null , "x":"\\\" "}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := json.Marshal(json.RawMessage(text))
		if err != nil {
			return // PostgreSQL stores only valid JSON
		}
		if got := jsontext.AppendCompact(nil, text); string(got) != escapeNextLine(string(want)) {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	})
}

// Times have six fraction digits and the suffix Z, in the whole range of the calendar.
func TestTimesAreEncodedInTheFormatOfTheContract(t *testing.T) {
	t.Parallel()
	for _, micros := range []int64{0, 1, -1, 999_999, 1_768_473_000_123_456, -62_135_596_800_000_000, -62_167_219_200_000_001, 253_402_300_799_999_999, 253_402_300_800_000_000} {
		at := time.UnixMicro(micros).In(time.FixedZone("", 8*3600))
		if got, want := string(jsontext.AppendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Errorf("%d is %s, want %s", micros, got, want)
		}
	}
}
