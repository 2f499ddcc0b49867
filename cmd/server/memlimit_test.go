package main

import (
	"testing"
	"testing/fstest"
)

// Without GOMEMLIMIT the limit follows from the smallest one of the cgroup and its parents.
func TestMemoryLimitFollowsTheCgroup(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	remote, local := config{DatabaseURL: "postgres://db/parley"}, config{}
	for name, c := range map[string]struct {
		files  fstest.MapFS
		env    environment
		config config
		want   int64
	}{
		"no cgroup":      {nil, nil, remote, 0},
		"no limit":       {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, nil, remote, 0},
		"version 2":      {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("2000\n"), "sys/fs/cgroup/a/memory.max": file("1000\n")}, nil, remote, 800},
		"version 1":      {fstest.MapFS{"proc/self/cgroup": file("4:memory:/x\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("1000\n")}, nil, remote, 800},
		"none, in v1":    {fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, nil, remote, 0},
		"own PostgreSQL": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("1000\n")}, nil, local, 500},
		"GOMEMLIMIT":     {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("1000\n")}, environment{"GOMEMLIMIT": "1GiB"}, remote, 0},
	} {
		if got := memoryLimit(c.files, c.env, c.config); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
