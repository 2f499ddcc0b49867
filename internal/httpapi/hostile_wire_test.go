package httpapi_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
)

// mutations are mutations of any request: of its path, its query, its headers and its framing.
var mutations = slices.Concat(pathMutations, queryMutations, headerMutations, wireMutations)

var pathMutations = []mutation{
	{"another id in the path", func(g *requestGenerator) func(*rand.Rand, *rawRequest) {
		return func(r *rand.Rand, a *rawRequest) { a.changeSegment(r, func(string) string { return g.randomID(r) }) }
	}},
	simpleMutation("a text in the path", func(r *rand.Rand, a *rawRequest) {
		a.changeSegment(r, func(string) string { return url.PathEscape(pick(r, texts)) })
	}),
	simpleMutation("an odd escape in the path", func(r *rand.Rand, a *rawRequest) {
		a.changeSegment(r, func(old string) string {
			odd := pick(r, []string{"%2F", "%2f..%2f", "..", "%2e%2e", ".", "%00", "%", "%zz", "%c0%af", "%ff", ";a=b", "*", "{id}", "%25", "%252F", "\\", "~", "+", "%20", "%0d%0aX:1"})
			return pick(r, []string{odd, old + odd, odd + old})
		})
	}),
	simpleMutation("other slashes", func(r *rand.Rand, a *rawRequest) {
		path, query, _ := strings.Cut(a.target, "?")
		switch r.IntN(8) {
		case 0:
			path = "/" + path
		case 1:
			path += "/"
		case 2:
			path = strings.TrimSuffix(path, "/")
		case 3:
			path = strings.Replace(path, "/", "//", 1+r.IntN(3))
		case 4:
			path = "/api/v1" + strings.TrimPrefix(path, "/api")
		case 5:
			path = strings.TrimPrefix(path, "/api")
		case 6:
			path = strings.ToUpper(path)
		case 7:
			path = "/api/../api/./" + strings.TrimPrefix(path, "/api/")
		}
		if a.target = path; query != "" {
			a.target += "?" + query
		}
	}),
	simpleMutation("another form of target", func(r *rand.Rand, a *rawRequest) {
		a.target = pick(r, []string{"http://parley.example" + a.target, "http://evil.example" + a.target, "//evil.example" + a.target, "*", "parley.example:80", a.target + "#x", "/" + strings.Repeat("a/", 2000), "?" + a.target})
	}),
}

// changeSegment changes a random segment of the path.
func (a *rawRequest) changeSegment(r *rand.Rand, change func(string) string) {
	path, query, hasQuery := strings.Cut(a.target, "?")
	parts := strings.Split(path, "/")
	at := r.IntN(len(parts))
	if at == 0 {
		at = len(parts) - 1
	}
	parts[at] = change(parts[at])
	if a.target = strings.Join(parts, "/"); hasQuery {
		a.target += "?" + query
	}
}

var queryMutations = []mutation{
	simpleMutation("a parameter's value", func(r *rand.Rand, a *rawRequest) {
		a.addParameter(a.randomParameter(r), url.QueryEscape(pick(r, texts)))
	}),
	simpleMutation("a number for a parameter", func(r *rand.Rand, a *rawRequest) {
		a.addParameter(a.randomParameter(r), pick(r, []string{"0", "1", "-1", "2", "100", "101", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "1e3", "0x1", "1.0", "%2B1", "٣", "00", strings.Repeat("9", 50)}))
	}),
	{"an id for a parameter", func(g *requestGenerator) func(*rand.Rand, *rawRequest) {
		return func(r *rand.Rand, a *rawRequest) { a.addParameter(a.randomParameter(r), g.randomID(r)) }
	}},
	simpleMutation("valid parameters", func(r *rand.Rand, a *rawRequest) {
		for _, parameter := range a.op.in("query") {
			if r.IntN(2) == 0 && parameter.Schema.Value.Example != nil {
				a.addParameter(parameter.Name, url.QueryEscape(fmt.Sprint(parameter.Schema.Value.Example)))
			}
		}
	}),
	simpleMutation("an odd query", func(r *rand.Rand, a *rawRequest) {
		a.addParameter(pick(r, []string{
			"%", "%zz=1", "a;b", "limit=1;offset=2", "=", "&&&", "a[]=1", "%00=1", "x=%00", "x=%ff", "page=1&page=2", "limit=1&limit=1", "?", "ticket=x", "api_key=x", "access_token=x", "_method=DELETE",
			strings.Repeat("a=1&", 500), "x=" + strings.Repeat("y", 20000), "conversation=", "cursor=" + strings.Repeat("A", 300), "after=1.0", "stream=true",
		}), "")
	}),
}

// randomParameter returns the name of a parameter of the operation, or of any operation.
func (a *rawRequest) randomParameter(r *rand.Rand) string {
	if own := a.op.in("query"); len(own) > 0 && r.IntN(4) > 0 {
		return pick(r, own).Name
	}
	other := pick(r, operations).in("query")
	if len(other) == 0 {
		return "limit"
	}
	return pick(r, other).Name
}

// addParameter adds a parameter to the query.
func (a *rawRequest) addParameter(name, value string) {
	mark := "?"
	if strings.Contains(a.target, "?") {
		mark = "&"
	}
	if value != "" {
		name += "=" + value
	}
	a.target += mark + name
}

var headerMutations = []mutation{
	{"other credentials", func(g *requestGenerator) func(*rand.Rand, *rawRequest) {
		return func(r *rand.Rand, a *rawRequest) {
			key := g.keys["admin"].key
			header := pick(r, []string{
				"Bearer " + g.tokens["conversation"], "Bearer " + g.tokens["contact"], "Bearer " + g.tokens["chatbot"], "Bearer " + g.tokens["contact"] + "x", "Bearer pct_", "Bearer wst_x",
				"Bearer", "Basic " + key, "Bearer " + key[:len(key)-1], "Bearer " + strings.ToUpper(key), "Api-Key  " + key + "  ", "Api-Key\t" + key, key, "Bearer \xff.\xfe", "Bearer " + strings.Repeat("x", 9000) + ".y",
				"Api-Key " + key + ", Api-Key " + key, "Bearer null", "Bearer pk_.x", "Bearer %00.x",
			})
			if a.setHeader("Authorization", header); r.IntN(4) == 0 {
				a.headers = append(a.headers, [2]string{"Authorization", "Bearer " + key})
			}
		}
	}},
	simpleMutation("another content type", func(r *rand.Rand, a *rawRequest) {
		a.setHeader("Content-Type", pick(r, []string{
			"", "text/plain", "application/json; charset=utf-16", "application/json; charset=\"", "application/json, text/plain", "APPLICATION/JSON", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
			"multipart/form-data; boundary=x", "multipart/form-data; boundary=\"\"", "multipart/mixed; boundary=x", "application/problem+json", "application/merge-patch+json", "*/*", "application/json;;", "json", strings.Repeat("a", 5000),
		}))
	}),
	simpleMutation("a header", func(r *rand.Rand, a *rawRequest) {
		name := pick(r, []string{
			"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-Ip", "X-Request-Id",
			"Accept", "Accept-Encoding", "Accept-Language", "Range", "If-Match", "If-None-Match", "If-Modified-Since", "Content-Encoding", "Cookie", "Origin", "Referer", "Last-Event-ID", "Idempotency-Key", "Expect",
			"Connection", "Keep-Alive", "Upgrade", "Te", "Trailer", "Proxy-Authorization", "Sec-WebSocket-Protocol", "Access-Control-Request-Method", "User-Agent", "Cache-Control", "Via", "Max-Forwards",
		})
		a.setHeader(name, pick(r, []string{
			"", "x", "DELETE", "GET", "/api/api-keys/", "127.0.0.1", "evil.example", "https", "https://shop.example", "null", "*", "gzip", "br", "bytes=0-10", "\"x\"", "1.0", "1.99999999999999999999", "-1.-1", "2.3", "close",
			"keep-alive", "websocket", "h2c", "trailers", "bearer, x", "k", strings.Repeat("k", 255), strings.Repeat("k", 256), "with space", "字", "\xff\xfe", "a,b", "100-continue", "text/html;q=0", "application/json;q=0",
			strings.Repeat("z", 10000), "chunked", "0", "a\tb",
		}))
	}),
	simpleMutation("many headers", func(r *rand.Rand, a *rawRequest) {
		for i := range 1 + r.IntN(400) {
			a.headers = append(a.headers, [2]string{fmt.Sprintf("X-Many-%d", i), "x"})
		}
	}),
	simpleMutation("another host", func(r *rand.Rand, a *rawRequest) {
		a.setHeader("Host", pick(r, []string{"", "evil.example", "evil.example:80", "a b", "[::1]", "evil.example/path", "localhost", "parley.example\t", "字.example", "a,b", strings.Repeat("h", 5000), "@evil", "?x"}))
	}),
}

// wireMutations change how a request is framed. Some make the connection unusable.
var wireMutations = []mutation{
	simpleMutation("another method", func(r *rand.Rand, a *rawRequest) {
		a.method = pick(r, []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "Post", "X", "G@T", strings.Repeat("M", 300)})
		a.breaksFraming = true
	}),
	simpleMutation("another protocol", func(r *rand.Rand, a *rawRequest) {
		a.proto = pick(r, []string{"HTTP/1.0", "HTTP/1.1", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "http/1.1", "HTTP/1", "ICY", ""})
		a.breaksFraming = true
	}),
	simpleMutation("a chunked body", func(r *rand.Rand, a *rawRequest) {
		if len(a.body) > 1<<16 {
			return
		}
		var chunks strings.Builder
		for rest := a.body; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			fmt.Fprintf(&chunks, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		a.chunks = chunks.String() + "0\r\n\r\n"
	}),
	simpleMutation("malformed chunks", func(r *rand.Rand, a *rawRequest) {
		a.breaksFraming = true
		body := string(a.body[:min(len(a.body), 1000)])
		a.chunks = pick(r, []string{
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)+5, body), fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)/2, body), fmt.Sprintf("%x\r\n%s\r\n", len(body), body), "zz\r\n", "-1\r\n\r\n", "0\r\n",
			"FFFFFFFFFFFFFFFFF\r\n", "7fffffffffffffff\r\n" + body, fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", len(body), body), fmt.Sprintf("%x\n%s\n0\n\n", len(body), body), "0x5\r\nhello\r\n0\r\n\r\n", strings.Repeat("1\r\nx\r\n", 2000),
		})
	}),
	simpleMutation("another length", func(r *rand.Rand, a *rawRequest) {
		a.breaksFraming = true
		a.headers = append(a.headers, [2]string{"Content-Length", pick(r, []string{"0", "1", "5", "-1", "x", "", "99999999999999999999", "1048577", "40000000", fmt.Sprint(len(a.body) + 10), "+5", "5, 5", "0x5"})})
	}),
	simpleMutation("a length and chunks", func(r *rand.Rand, a *rawRequest) {
		a.breaksFraming = true
		a.headers = append(a.headers, [2]string{"Content-Length", pick(r, []string{"0", "3", fmt.Sprint(len(a.body))})})
		a.chunks = fmt.Sprintf("0\r\n\r\nDELETE %s HTTP/1.1\r\nHost: x\r\n\r\n", a.target)
	}),
	simpleMutation("an odd encoding", func(r *rand.Rand, a *rawRequest) {
		a.breaksFraming = true
		a.headers = append(a.headers, [2]string{"Transfer-Encoding", pick(r, []string{"identity", "xchunked", "chunked, identity", "gzip, chunked", " chunked", "\x0bchunked", "chunked\r\nTransfer-Encoding: x"})})
	}),
	simpleMutation("a malformed header", func(r *rand.Rand, a *rawRequest) {
		a.breaksFraming = true
		a.headers = append(a.headers, pick(r, [][2]string{{"X Space", "1"}, {"X-Fold", "a\r\n b"}, {"X-Bare", "a\nY: b"}, {"X-Nul", "a\x00b"}, {"", "x"}, {"X-Name ", "x"}, {"Host", "twice.example"}, {"X-Ü", "x"}, {"X-Large", strings.Repeat("x", 1<<20)}}))
	}),
	simpleMutation("a broken form", func(r *rand.Rand, a *rawRequest) {
		if !a.op.isUpload() {
			return
		}
		a.body = []byte(pick(r, []string{
			"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nquestion,answer\nWhere?,Here.\n", "--x--\r\n", "", "--x\r\n\r\n--x--\r\n", strings.Repeat("--x\r\n", 2000),
			"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nno file\r\n--x--\r\n", "--x\r\nContent-Disposition: form-data; name=\"other\"; filename=\"a\"\r\n\r\nx\r\n--x--\r\n",
			"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../a\"\r\nContent-Transfer-Encoding: base64\r\n\r\ncXVlc3Rpb24=\r\n--x--\r\n",
			"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nPK\x03\x04garbage\r\n--x--\r\n", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\xff\xfe\x00q\r\n--x--\r\n",
		}))
		a.setHeader("Content-Type", "multipart/form-data; boundary=x")
	}),
}
