package httpapi_test

import (
	"strings"
	"testing"

	"parley/internal/httpapi"
)

// The id of an event that the document allows names a place, and is what the server writes for that place.
func FuzzEventID(f *testing.F) {
	for _, seed := range []string{"1.0", "1.27", "999999999.999999999", "1.00", "01.0", "0.0", "1", "1.", ".1", "1.-1", "+1.1", "1.1.1", "1,1", " 1.1", "1.1\n", "１.１", "1_0.1", "1000000000.0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		isAllowed := schemaOf("EventID").VisitJSON(text) == nil
		again, err := httpapi.RereadEventID(text)
		if isAllowed && (err != nil || again != text) {
			t.Fatalf("%q is read as %q: %v", text, again, err)
		}
	})
}

// The name of a file is one header in ASCII, which says nothing that the name did not, whatever it holds.
func FuzzAttachment(f *testing.F) {
	for _, seed := range []string{"parley.xlsx", "", "a\"; filename=evil.exe", "a\r\nSet-Cookie: x=1", "../../etc/passwd", `..\..\boot.ini`, "字.csv", "\u202excod.exe", "a%0d%0ab", "\x00", "\xff", "'", "*", "a;b", "=cmd|' /C calc'!A0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		header := httpapi.Attachment(name)
		if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q becomes %q", name, header)
		}
		if strings.Count(header, `"`) != 2 || strings.Count(header, ";") != 2 || strings.Count(header, "=") != 2 || strings.ContainsAny(header, `\/`) {
			t.Fatalf("%q becomes %q", name, header)
		}
	})
}
