package contracttest

import "fmt"

// Frame holds a text frame of the server's against the document.
func Frame(text []byte) error { return Is("ServerFrame", text) }

// Is holds a JSON text against one of the document's schemas.
func Is(schema string, text []byte) error {
	if err := jsonText(met, named(schema), text); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}
