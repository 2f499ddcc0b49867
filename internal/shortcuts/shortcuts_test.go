package shortcuts_test

import (
	"testing"

	"parley/internal/shortcuts"
)

func TestOneShortcutIsSwitchedOffByItself(t *testing.T) {
	t.Parallel()
	without := shortcuts.All()
	without.Search = false
	for text, want := range map[string]shortcuts.Set{
		"":                     shortcuts.All(),
		" , ":                  shortcuts.All(),
		"off":                  {},
		"search=off":           without,
		"send=on, search=off":  without,
		"search=off,search=on": shortcuts.All(),
	} {
		if got, err := shortcuts.Parse(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestWhatIsNoShortcutIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"on", "search", "search=", "search=0", "Search=off", "searching=off", "off,send=on"} {
		if got, err := shortcuts.Parse(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
