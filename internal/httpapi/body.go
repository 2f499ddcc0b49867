package httpapi

import (
	"io"
	"net/http"

	"parley/internal/apperr"
)

// readJSON reads a body of up to 1 MiB that says it is JSON.
func readJSON(r *http.Request) ([]byte, error) {
	if err := checkMediaType(r, "application/json"); err != nil {
		return nil, err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, apperr.New(apperr.UnsupportedMediaType, "The body must not be compressed.")
	}
	if r.ContentLength > maxJSON {
		return nil, tooLarge("The body may have 1 MiB.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	if err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "The body could not be read.", err)
	}
	if len(body) > maxJSON {
		return nil, tooLarge("The body may have 1 MiB.")
	}
	return body, nil
}
