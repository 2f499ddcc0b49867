package contract

import (
	"bytes"
	"crypto/sha256"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

const (
	maxJSON   = 1 << 20
	maxUpload = 32 << 20
)

const (
	jsonTooLarge   = "The body can be at most 1 MiB."
	uploadTooLarge = "The upload can be at most 32 MiB."
)

// body is what readBody has read.
type body struct {
	json []byte // with current field names; nil for other bodies
	hash []byte // SHA-256 of the JSON body as it was sent, of no bytes for other bodies
}

var emptyHash = sha256.Sum256(nil)

// readBody reads a JSON body and makes it the body of the request again, in the form that
// PostgreSQL can store and with current field names. Of an upload it checks the headers and bounds
// the length; the handler reads it as it arrives.
func (op *operation) readBody(ec echo.Context) (body, error) {
	r := ec.Request()
	switch {
	case op.hasJSONBody:
		sent, err := readJSON(r)
		if err != nil {
			return body{}, err
		}
		hash := sha256.Sum256(sent)
		cleaned, err := jsontext.Clean(sent)
		if err != nil {
			return body{}, op.asMessageError(err)
		}
		cleaned = op.renameDeprecated(cleaned)
		r.Body = io.NopCloser(bytes.NewReader(cleaned))
		r.ContentLength = int64(len(cleaned))
		return body{json: cleaned, hash: hash[:]}, nil
	case op.hasUpload:
		if err := checkMediaType(r, "multipart/form-data"); err != nil {
			return body{}, err
		}
		if r.ContentLength > maxUpload {
			return body{}, apperr.New(apperr.TooLarge, uploadTooLarge)
		}
		r.Body = http.MaxBytesReader(ec.Response(), r.Body, maxUpload)
	}
	return body{hash: emptyHash[:]}, nil
}

func readJSON(r *http.Request) ([]byte, error) {
	if err := checkMediaType(r, "application/json"); err != nil {
		return nil, err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, apperr.New(apperr.UnsupportedMediaType, "The body must not be compressed.")
	}
	if r.ContentLength > maxJSON {
		return nil, apperr.New(apperr.TooLarge, jsonTooLarge)
	}
	sent, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	if err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "The body could not be read.", err)
	}
	if len(sent) > maxJSON {
		return nil, apperr.New(apperr.TooLarge, jsonTooLarge)
	}
	return sent, nil
}

func checkMediaType(r *http.Request, want string) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != want {
		return apperr.New(apperr.UnsupportedMediaType, "The Content-Type must be "+want+".")
	}
	if strings.HasPrefix(want, "multipart/") && parameters["boundary"] == "" {
		return apperr.New(apperr.InvalidRequest, "The Content-Type must have a boundary.")
	}
	return nil
}
