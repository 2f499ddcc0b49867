package backup_test

import (
	"testing"

	"parley/internal/backup"
)

func TestConnectionStringKeepsOnlyLibpqSettings(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://u:hush@db:5433/parley?sslmode=require&pool_max_conns=4": "postgres://u@db:5433/parley?sslmode=require",
		"postgresql://db/parley?password=hush&user=u":                       "postgresql://db/parley?user=u",
		"postgres://parley@/postgres?host=%2Ftmp%2Fa%20b":                   "postgres://parley@/postgres?host=%2Ftmp%2Fa%20b",
		"postgres://u:hush@a:1,b:2/parley?target_session_attrs=read-write":  "postgres://u@a:1,b:2/parley?target_session_attrs=read-write",
		"host=db user=u password=hush dbname=parley":                        "host=db user=u dbname=parley",
		`host = db password='hu\'sh hush' user='a b' pool_max_conns=3`:      `host=db user='a b'`,
		"": "",
	} {
		if got := backup.ConnectionString(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
