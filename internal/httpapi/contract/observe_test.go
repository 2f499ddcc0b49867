package contract_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"parley/internal/httpapi/contract"
)

// An accepted request ID is visible ASCII and unchanged in a header.
func FuzzRequestID(f *testing.F) {
	for _, seed := range []string{"", "a", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e0d", "a b", "a\r\nb: c", "\x00", "字", strings.Repeat("x", 128), strings.Repeat("x", 129), "A.b_c:d-9", "\"", "\\", "%0a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !contract.IsValidRequestID(id) {
			return
		}
		var written bytes.Buffer
		if err := (http.Header{"X-Request-Id": {id}}).Write(&written); err != nil {
			t.Fatal(err)
		}
		if written.String() != "X-Request-Id: "+id+"\r\n" || len(id) == 0 || len(id) > 128 || strings.ContainsAny(id, " \"\\/,;%") {
			t.Fatalf("%q is accepted and written as %q", id, written.String())
		}
	})
}
