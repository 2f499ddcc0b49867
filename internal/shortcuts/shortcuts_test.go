package shortcuts_test

import (
	"reflect"
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

func TestEachShortcutIsToldByName(t *testing.T) {
	t.Parallel()
	for name, isTaken := range shortcuts.All().ByName() {
		without, err := shortcuts.Parse(name + "=off")
		if err != nil || !isTaken || without.ByName()[name] || without == shortcuts.All() {
			t.Errorf("%s: %t with all, %t without it, %v", name, isTaken, without.ByName()[name], err)
		}
	}
	if got := reflect.TypeFor[shortcuts.Set]().NumField(); len(shortcuts.All().ByName()) != got {
		t.Errorf("of %d shortcuts %d are told", got, len(shortcuts.All().ByName()))
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
