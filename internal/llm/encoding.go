package llm

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
)

// decodedBody returns the decompressed body of a response. Requests do not ask for compression, but some servers and
// proxies compress regardless. The first bytes decide, because headers are unreliable. The result buffers no more
// than the compression does.
func decodedBody(response *http.Response, body io.Reader) (io.Reader, error) {
	in := bufio.NewReader(body)
	mark, _ := in.Peek(2) // a shorter body is not compressed
	if len(mark) < 2 {
		return in, nil
	}
	const gzipMark = "\x1f\x8b"
	isZlib := mark[0]&0x0f == 8 && (int(mark[0])<<8|int(mark[1]))%31 == 0
	switch isDeflate := strings.EqualFold(strings.TrimSpace(response.Header.Get("Content-Encoding")), "deflate"); {
	case string(mark) == gzipMark:
		return gzip.NewReader(in)
	case isDeflate && isZlib:
		return zlib.NewReader(in)
	case isDeflate && !strings.ContainsRune("{[d:e\ufeff \n\r", rune(mark[0])):
		return flate.NewReader(in), nil
	}
	return in, nil
}
