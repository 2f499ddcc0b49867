package main

import "testing"

func TestAServerHasTheSearchIndexAsItsShortcutsSay(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, c := range []struct {
		shortcuts string
		want      int
	}{{"search=on", 1}, {"search=on", 1}, {"off", 0}, {"", 1}} {
		server := serving(t, dir, "PARLEY_SHORTCUTS="+c.shortcuts)
		eventually(t, "the search index as wanted by "+c.shortcuts, func() bool {
			// One more, since 0 is what a database that cannot be asked counts.
			return count(server, "SELECT 1 + count(*) FROM pg_index WHERE indexrelid = to_regclass('message_history_by_content') AND indisvalid") == 1+c.want
		})
		server.stop()
	}
}
