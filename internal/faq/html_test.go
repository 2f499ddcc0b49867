package faq_test

import (
	"testing"

	"parley/internal/faq"
)

func TestHTMLToText(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"<p>One</p><p>Two</p>":                                            "One\nTwo",
		"One<br>Two<br/>\nThree":                                          "One\nTwo\nThree",
		"<p>One</p>\n\n\n<p>&nbsp;</p>\n<p>Two":                           "One\n\nTwo",
		"<ul><li>a</li>\n<li><p>b</p></li></ul>c":                         "- a\n- b\nc",
		`See <a href="https://a.example/x">this page</a>.`:                "See this page (https://a.example/x).",
		`<a href="https://a.example/">a.example</a>`:                      "a.example",
		`<a href="mailto:a@b.example">a@b.example</a>`:                    "a@b.example",
		`<a href="mailto:a@b.example">write</a>`:                          "write (a@b.example)",
		`<a href="#top">up</a> <a href="javascript:x()">run</a>`:          "up run",
		"<style>p{}</style><script>alert('<p>')</script>text":             "text",
		"<!-- hidden -->shown":                                            "shown",
		"Fish &amp; chips &#x27;n&#39; &lt;b&gt;":                         "Fish & chips 'n' <b>",
		"<b>bold</b> and\nnew line":                                       "bold and\nnew line",
		"<p>some\n   words</p>":                                           "some words",
		"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>": "a\tb\nc",
		"<pre>a\n  b</pre>c":                                              "a\n  b\nc",
		// Text that is not HTML is unchanged.
		"a < b":                      "a < b",
		"if a<b and c>d then":        "if a<b and c>d then",
		"1 <2":                       "1 <2",
		"ends with <b":               "ends with <b",
		"Dear <your name>, <3":       "Dear <your name>, <3",
		"x?a=1&copy=2&lt=3":          "x?a=1&copy=2&lt=3",
		"AT&T":                       "AT&T",
		"two\n\nparagraphs\n  aside": "two\n\nparagraphs\n  aside",
		"List<String> <?php":         "List<String> <?php",
		"</p":                        "</p",
	} {
		if got := faq.HTMLToText(source); got != want {
			t.Errorf("%q: got %q, want %q", source, got, want)
		}
	}
}
