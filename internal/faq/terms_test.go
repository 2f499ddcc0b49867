package faq_test

import (
	"slices"
	"testing"

	"parley/internal/faq"
)

func TestWordsAreStemmed(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"book", "books", "booked", "booking"},
		{"cancel", "cancelled", "cancelling", "Cancels"},
		{"change", "changes", "changed", "changing"},
		{"ticket", "tickets", "ＴＩＣＫＥＴ"},
		{"policy", "policies"},
		{"password", "Passwords"},
	} {
		want := faq.Terms(same[0])
		for _, word := range same {
			if got := faq.Terms(word); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q as for %s", word, got, want, same[0])
			}
		}
	}
	for _, different := range [][2]string{{"ring", "r"}, {"need", "ne"}, {"status", "statu"}} {
		if slices.Equal(faq.Terms(different[0]), faq.Terms(different[1])) {
			t.Errorf("%q have the same term", different)
		}
	}
}

func TestChineseIsSplitIntoBigramsBetweenStopPhrases(t *testing.T) {
	t.Parallel()
	got := faq.Terms("請問如何申請退票？")
	for _, want := range []string{"申請", "退票"} {
		if !slices.Contains(got, want) {
			t.Errorf("got %q, want %s among them", got, want)
		}
	}
	for _, unwanted := range []string{"何申", "問如"} {
		if slices.Contains(got, unwanted) {
			t.Errorf("got %q with the bigram %s across phrases", got, unwanted)
		}
	}
}
