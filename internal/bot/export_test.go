package bot

// Doors for the fuzz tests, to what no request can aim at so directly.

// TextOf turns HTML into text.
func TextOf(source string) string { return textOf(source) }

// KeyOf is a question without its spelling.
func KeyOf(question string) string { return keyOf(question) }

// Pieces cuts a reply.
func Pieces(text string) []string { return pieces(text) }

// Terms cuts a text.
func Terms(text string) []string {
	var found []string
	for _, t := range cutTerms(text) {
		found = append(found, t.text)
	}
	return found
}

// ReadTable reads a file and tells how many entries and errors it holds.
func ReadTable(file []byte) (entries, errors int, err error) {
	t, err := readTable(file)
	if err != nil {
		return 0, 0, err
	}
	good, bad := t.entries()
	return len(good), len(bad), nil
}
