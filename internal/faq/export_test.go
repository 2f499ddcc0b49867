package faq

// HTMLToText converts HTML to text.
func HTMLToText(source string) string { return htmlToText(source) }

// QuestionKey returns a question without the differences that an exact match ignores.
func QuestionKey(question string) string { return questionKey(question) }

// Terms returns the texts of a text's terms.
func Terms(text string) []string {
	var texts []string
	for _, t := range indexTerms(text) {
		texts = append(texts, t.text)
	}
	return texts
}

// WithAllReadersBusy runs fn while no further file can be read.
func (f *FAQs) WithAllReadersBusy(fn func()) {
	for range maxReaders {
		f.readers <- struct{}{}
	}
	fn()
	for range maxReaders {
		<-f.readers
	}
}

// Row is a row of an imported file: an FAQ, or what is wrong with the row.
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

// Table is an imported file: its FAQs, what is wrong with it, and how it was read.
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
