package faq

// HTMLToText converts HTML to text.
func HTMLToText(source string) string { return htmlToText(source) }

// QuestionKey returns a question in the form that exact matches compare.
func QuestionKey(question string) string { return questionKey(question) }

// Terms returns the terms of a text.
func Terms(text string) []string {
	var texts []string
	for _, t := range indexTerms(text) {
		texts = append(texts, t.text)
	}
	return texts
}

// WithAllReadersBusy runs fn while all file readers are in use.
func (f *FAQs) WithAllReadersBusy(fn func()) {
	for range maxReaders {
		f.readers <- struct{}{}
	}
	fn()
	for range maxReaders {
		<-f.readers
	}
}

// Row is a row of an imported file: an FAQ, or the error of the row.
type Row struct {
	Question, Answer string
	Labels           []string
	Problem          string
}

// ReadFile parses an imported file.
func ReadFile(file []byte) ([]Row, error) {
	t, err := readTable(file)
	if err != nil {
		return nil, err
	}
	parsed := []Row{}
	for _, r := range t.rows {
		e, problem := r.entry()
		parsed = append(parsed, Row{e.question, e.answer, e.labels, problem.Detail})
	}
	return parsed, nil
}

// Table is an imported file: its FAQs, its errors, and how it was read.
type Table struct {
	Rows            []Row
	Errors          []ImportError
	Sheet, Encoding string
	IgnoredColumns  []string
}

// ReadTable parses an imported file.
func ReadTable(file []byte) (Table, error) {
	t, err := readTable(file)
	if err != nil {
		return Table{}, err
	}
	entries, errs := t.entries()
	read := Table{Errors: errs, Sheet: t.sheet, Encoding: t.encoding, IgnoredColumns: t.ignored}
	for _, e := range entries {
		read.Rows = append(read.Rows, Row{e.question, e.answer, e.labels, ""})
	}
	return read, nil
}
