package recordfile_test

import (
	"strings"
	"testing"

	"parley/internal/httpapi/recordfile"
)

// For any file name, the header is one line of ASCII, and a name cannot add parameters.
func FuzzContentDisposition(f *testing.F) {
	for _, seed := range []string{"parley.xlsx", "", "a\"; filename=evil.exe", "a\r\nSet-Cookie: x=1", "../../etc/passwd", `..\..\boot.ini`, "字.csv", "\u202excod.exe", "a%0d%0ab", "\x00", "\xff", "'", "*", "a;b", "=cmd|' /C calc'!A0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		header := recordfile.ContentDisposition(name, name)
		if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q becomes %q", name, header)
		}
		if strings.Count(header, `"`) != 2 || strings.Count(header, ";") != 2 || strings.Count(header, "=") != 2 || strings.ContainsAny(header, `\/`) {
			t.Fatalf("%q becomes %q", name, header)
		}
	})
}
