package main

import "testing"

func TestSearchIndexFollowsSetting(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, c := range []struct {
		setting string
		want    int
	}{{"on", 1}, {"on", 1}, {"off", 0}, {"", 1}} {
		server := serving(t, dir, "PARLEY_SEARCH_INDEX="+c.setting)
		eventually(t, "the search index with PARLEY_SEARCH_INDEX="+c.setting, func() bool {
			// The query adds 1, because count returns 0 when the database cannot be queried.
			return count(server, "SELECT 1 + count(*) FROM pg_index WHERE indexrelid = to_regclass('message_history_by_form') AND indisvalid") == 1+c.want
		})
		server.stop()
	}
}
