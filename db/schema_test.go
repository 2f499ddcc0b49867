package db_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/db"
	"parley/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// catalog selects all objects of a schema with their definitions. It excludes the table of the
// migration tool, and the index that servers build and drop themselves.
const catalog = `
WITH relations AS (
    SELECT c.* FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'goose%' AND c.relname <> 'message_history_by_form'
)
SELECT 'table ' || relname AS object,
       concat_ws(' ', 'kind', relkind, 'persistence', relpersistence, 'options', reloptions::text,
                 'row security', relrowsecurity, 'replica identity', relreplident) AS definition
FROM relations WHERE relkind IN ('r', 'p')
UNION ALL
SELECT 'column ' || c.relname || '.' || a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), 'identity ' || nullif(a.attidentity::text, ''),
                 'generated ' || nullif(a.attgenerated::text, ''), 'collation ' || nullif(a.attcollation, 0)::regcollation::text,
                 'compression ' || nullif(a.attcompression::text, ''), 'storage', a.attstorage, 'options ' || a.attoptions::text,
                 'statistics', a.attstattarget)
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'columns of ' || c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.relname
UNION ALL
SELECT 'constraint ' || c.relname || '.' || n.conname, pg_get_constraintdef(n.oid)
FROM relations c JOIN pg_constraint n ON n.conrelid = c.oid
UNION ALL
SELECT 'index ' || relname, pg_get_indexdef(oid) FROM relations WHERE relkind IN ('i', 'I')
UNION ALL
SELECT 'view ' || relname, pg_get_viewdef(oid) FROM relations WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence ' || c.relname,
       concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
FROM relations c JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT 'trigger ' || c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid)
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'policy ' || tablename || '.' || policyname, concat_ws(' ', cmd, permissive, roles::text, qual, with_check)
FROM pg_policies WHERE schemaname = 'public'
UNION ALL
SELECT 'statistics ' || stxname, pg_get_statisticsobjdef(oid)
FROM pg_statistic_ext WHERE stxnamespace = 'public'::regnamespace
UNION ALL
SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid)
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'type ' || t.oid::regtype,
       concat_ws(' ', t.typtype, (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
                 format_type(nullif(t.typbasetype, 0), t.typtypmod))
FROM pg_type t
WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'extension ' || extname, extnamespace::regnamespace::text FROM pg_extension
UNION ALL
SELECT 'comment ' || objoid::regclass || '.' || objsubid, description
FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM relations)`

func TestMigrationsProduceSchema(t *testing.T) {
	t.Parallel()
	written := objects(t, schema(t))
	migrated := objects(t, connect(t, dbtest.URL(t)))
	if len(written) == 0 {
		t.Fatal("the schema is empty")
	}
	for _, difference := range compare(written, migrated) {
		t.Error(difference)
	}
}

// The comparison of catalogs detects each kind of change.
func TestCatalogDetectsChanges(t *testing.T) {
	t.Parallel()
	changes := map[string]string{
		"table":              "CREATE TABLE more (id uuid)",
		"column":             "ALTER TABLE users ADD COLUMN more text",
		"type":               "ALTER TABLE attachments ALTER COLUMN filename TYPE varchar(9)",
		"default":            "ALTER TABLE users ALTER COLUMN name SET DEFAULT ''",
		"nullability":        "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
		"constraint":         "ALTER TABLE users ADD CONSTRAINT users_more CHECK (name <> '')",
		"foreign key action": "ALTER TABLE users DROP CONSTRAINT users_organization_fkey, ADD CONSTRAINT users_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)",
		"index":              "CREATE INDEX users_more ON users (created_at)",
		"option":             "ALTER TABLE users SET (fillfactor = 70)",
		"view":               "CREATE VIEW more AS SELECT name FROM users",
		"function":           "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
		"enumeration":        "CREATE TYPE more AS ENUM ('more')",
		"sequence":           "CREATE SEQUENCE more",
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := schema(t)
			before := objects(t, conn)
			if _, err := conn.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if len(compare(before, objects(t, conn))) == 0 {
				t.Errorf("not detected: %s", change)
			}
		})
	}
}

// compare returns the objects that exist in one catalog only or differ.
func compare(written, migrated map[string]string) []string {
	var differences []string
	names := maps.Clone(written)
	maps.Copy(names, migrated)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		here, isHere := written[name]
		there, isThere := migrated[name]
		switch {
		case !isThere:
			differences = append(differences, fmt.Sprintf("%s is in schema.sql only:\n\t%s", name, here))
		case !isHere:
			differences = append(differences, fmt.Sprintf("%s is in the migrations only:\n\t%s", name, there))
		case here != there:
			differences = append(differences, fmt.Sprintf("%s differs:\n\tschema.sql: %s\n\tmigrations: %s", name, here, there))
		}
	}
	return differences
}

func objects(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, row := range query(t, conn, catalog) {
		found[row[0]] = row[1]
	}
	return found
}

// schema connects to a new database with schema.sql.
func schema(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := connect(t, dbtest.Empty(t))
	if _, err := conn.Exec(t.Context(), db.Schema); err != nil {
		t.Fatalf("apply schema.sql: %v", err)
	}
	return conn
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // closed when the test's database is dropped
}

// query returns rows of text.
func query(t *testing.T, conn *pgx.Conn, sql string) [][]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		values := make([]string, len(row.FieldDescriptions()))
		fields := make([]any, len(values))
		for i := range values {
			fields[i] = &values[i]
		}
		return values, row.Scan(fields...)
	})
	if err != nil {
		t.Fatalf("%v in %s", err, strings.TrimSpace(sql))
	}
	return found
}
