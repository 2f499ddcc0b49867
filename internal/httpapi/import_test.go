package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"parley/internal/auth"
)

const imports = "/api/chatbots/parley/faqs/import/"

func (c caller) importFile(name string, content []byte) answer {
	c.t.Helper()
	body, kind := upload("file", name, content)
	return c.call(http.MethodPost, imports, body, kind)
}

// workbook returns an .xlsx file with the given rows.
func workbook(t *testing.T, rows ...[]any) []byte {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, row := range rows {
		if err := book.SetSheetRow("Sheet1", must(excelize.CoordinatesToCellName(1, i+1)), &row); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	if _, err := book.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// Tables are accepted as .csv or .xlsx, with English or Chinese headers. Incomplete rows are reported and the others
// imported.
func TestFAQsAreImportedFromTables(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	got := admin.importFile("faqs.csv", []byte("\xEF\xBB\xBFquestion,answer,labels\nFirst?,One,\"a,b\"\n,no question\nNo answer?,\n\nSecond?,\"Two\nlines\"\n")).wantStatus(200)
	mistakes := objects(got, "errors")
	if number(got, "created") != 2 || number(got, "updated") != 0 || number(got, "skipped") != 0 || len(mistakes) != 2 {
		t.Fatalf("%v", got)
	}
	if number(mistakes[0], "row") != 3 || number(mistakes[1], "row") != 4 || mistakes[0]["detail"] == mistakes[1]["detail"] {
		t.Errorf("%v", mistakes)
	}
	got = admin.importFile("whatever", workbook(t, []any{"答案", "問題", "標籤"}, []any{"壹", "First?", "新"}, []any{"Two\nlines", "Second?", ""}, []any{7, "第三？", nil})).wantStatus(200)
	if number(got, "created") != 1 || number(got, "updated") != 1 || number(got, "skipped") != 1 || len(objects(got, "errors")) != 0 {
		t.Errorf("%v", got)
	}
	for asked, want := range map[string]string{"First?": "壹", "Second?": "Two\nlines", "第三？": "7"} {
		if got := admin.call(http.MethodPost, completions, object{"message": object{"content": asked}}).wantStatus(200)["content"]; got != want {
			t.Errorf("%s was imported as %v", asked, got)
		}
	}
	if n := number(admin.get("/api/chatbots/parley/faqs/"), "count"); n != 4+3 {
		t.Errorf("there are %d FAQs", n)
	}
	if got := admin.importFile("only-a-header.csv", []byte("question,answer\n")).wantStatus(200); number(got, "created") != 0 {
		t.Errorf("%v", got)
	}
}

// A dry run has the same response as the import, and stores nothing, not even its Idempotency-Key.
func TestADryRunStoresNothing(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	file := workbook(t, []any{"question", "answer", "Author"}, []any{"First?", "One", "me"}, []any{"No answer?", ""}, []any{"Wide?", "x", "", "y"})
	send := func(path string) answer {
		body, kind := upload("file", "faqs.xlsx", file)
		return admin.call(http.MethodPost, path, body, kind, withHeader("Idempotency-Key", "import-1"))
	}
	for range 2 {
		tried := send(imports + "?dryRun=true")
		if got := tried.wantStatus(200); number(got, "created") != 1 || tried.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%v", got)
		}
	}
	if n := number(admin.get("/api/chatbots/parley/faqs/"), "count"); n != 4 {
		t.Errorf("after a dry run there are %d FAQs", n)
	}
	got := send(imports + "?dryRun=false").wantStatus(200)
	mistakes := objects(got, "errors")
	if number(got, "created") != 1 || got["sheet"] != "Sheet1" || len(mistakes) != 2 {
		t.Fatalf("%v", got)
	}
	if number(mistakes[1], "row") != 4 || mistakes[1]["column"] != "D" || mistakes[1]["sheet"] != "Sheet1" {
		t.Errorf("%v", mistakes[1])
	}
	if n := number(admin.get("/api/chatbots/parley/faqs/"), "count"); n != 4+1 {
		t.Errorf("after the import there are %d FAQs", n)
	}
	if again := send(imports + "?dryRun=true").wantStatus(200); number(again, "skipped") != 1 {
		t.Errorf("%v", again)
	}
	body, kind := upload("file", "faqs.xlsx", file)
	admin.call(http.MethodPost, "/api/chatbots/nobody/faqs/import/?dryRun=true", body, kind).wantProblem(404, "not_found", "")
}

// A file that is not a table is refused and changes nothing.
func TestFilesThatAreNotTablesAreRejected(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	for name, content := range map[string]string{
		"empty": "", "no columns": "a,b\n1,2\n", "one column": "question\nFirst?\n", "no UTF-8": "question,answer\n\xff\xfe,x\n", "NUL": "question,answer\nA,\x00\n",
		"stray quote": "question,answer\nFirst?,\"One\n", "old Excel": "\xD0\xCF\x11\xE0 …", "broken Excel": "PK\x03\x04 …", "PDF": "%PDF-1.7",
	} {
		if err := admin.importFile("faqs.csv", []byte(content)).checkProblem(400, "invalid_request", "/file"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	body, kind := upload("datei", "faqs.csv", []byte("question,answer\nA,B\n"))
	admin.call(http.MethodPost, imports, body, kind).wantProblem(400, "invalid_request", "/file")
	whole, kind := upload("file", "faqs.csv", []byte("question,answer\nA,B\n"))
	admin.call(http.MethodPost, imports, string(whole.Bytes()[:whole.Len()-20]), kind).wantProblem(400, "invalid_request", "")
	admin.call(http.MethodPost, imports, "", kind).wantProblem(400, "invalid_request", "")
	admin.call(http.MethodPost, imports, "no form", withHeader("Content-Type", "multipart/form-data")).wantProblem(400, "invalid_request", "")
	for _, kind := range []string{"", "text/csv", "application/json", "multipart/mixed; boundary=x"} {
		admin.call(http.MethodPost, imports, "question,answer\nA,B\n", withHeader("Content-Type", kind)).wantProblem(415, "unsupported_media_type", "")
	}
	admin.call(http.MethodPost, "/api/chatbots/nobody/faqs/import/", bytes.NewReader(whole.Bytes()), formContentType(whole)).wantProblem(404, "not_found", "")
	if n := number(admin.get("/api/chatbots/parley/faqs/"), "count"); n != 4 {
		t.Errorf("there are %d FAQs", n)
	}
}

// formContentType returns the option that sets the Content-Type of a form, with the form's own boundary.
func formContentType(form *bytes.Buffer) option {
	boundary, _, _ := strings.Cut(strings.TrimPrefix(form.String(), "--"), "\r\n")
	return withHeader("Content-Type", "multipart/form-data; boundary="+boundary)
}

// An upload over 32 MiB is refused, with or without a Content-Length.
func TestUploadsOver32MiBAreTooLarge(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	body, kind := upload("file", "faqs.csv", bytes.Repeat([]byte("x"), 32<<20))
	admin.call(http.MethodPost, imports, bytes.NewReader(body.Bytes()), kind).wantProblem(413, "too_large", "")
	admin.call(http.MethodPost, imports, struct{ io.Reader }{bytes.NewReader(body.Bytes())}, kind).wantProblem(413, "too_large", "")
}

// Slow uploads of one organization take no place in memory, and do not delay the imports of another one. All of them
// are imported when they have arrived; beyond 16 that arrive and 16 that wait, an upload is refused.
func TestSlowUploadsDoNotBlockOtherOrganizations(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.expectFailures() // the uploads over the limit are 503
	admin, other := s.organization().as("admin", auth.Admin), s.organization().as("admin", auth.Admin)
	body, kind := upload("file", "faqs.csv", []byte("question,answer\nFirst?,One\n"))
	first, rest := body.Bytes()[:body.Len()/2], body.Bytes()[body.Len()/2:]
	const accepted, refused = 32, 4
	answered := make(chan *http.Response, accepted+refused)
	goOn := make(chan struct{})
	for range accepted + refused {
		reader, writer := io.Pipe()
		slow := must(http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+imports, reader))
		kind(slow)
		slow.Header.Set("Authorization", "Bearer "+admin.key)
		go func() {
			response, err := http.DefaultClient.Do(slow)
			if err != nil {
				t.Error(err)
				response = &http.Response{Body: http.NoBody}
			}
			response.Body.Close()
			answered <- response
		}()
		go func() { // the write fails when the server refuses the upload
			_, _ = writer.Write(first)
			<-goOn
			_, _ = writer.Write(rest)
			writer.Close()
		}()
	}
	for range refused {
		if got := <-answered; got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("an upload over the limit received %d, %v", got.StatusCode, got.Header)
		}
	}
	other.importFile("faqs.csv", []byte("question,answer\nSecond?,Two\n")).wantStatus(200)
	close(goOn)
	for range accepted {
		if got := <-answered; got.StatusCode != http.StatusOK {
			t.Errorf("a slow upload received %d", got.StatusCode)
		}
	}
}
