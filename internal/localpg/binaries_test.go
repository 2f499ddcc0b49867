package localpg_test

import (
	"path/filepath"
	"strings"
	"testing"

	"parley/internal/localpg"
)

func TestFindProgramIsNotOlderThanTheServer(t *testing.T) {
	t.Parallel()
	const dir = "testdata" // its pg_dump reports version 17
	path := filepath.Join(dir, "pg_dump")
	for _, major := range []int{15, 17} {
		if found, err := localpg.FindProgram(t.Context(), "pg_dump", dir, major); err != nil || found != path {
			t.Errorf("for version %d: %q, %v", major, found, err)
		}
	}
	for name, major := range map[string]int{"pg_dump": 18, "pg_restore": 17} {
		_, err := localpg.FindProgram(t.Context(), name, dir, major)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "apt-get install") {
			t.Errorf("%s of version %d: %v", name, major, err)
		}
	}
}
