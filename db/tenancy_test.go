package db_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// global lists the tables whose rows belong to no organization.
var global = []string{"organizations"}

func TestPrimaryKeysBeginWithOrganization(t *testing.T) {
	t.Parallel()
	rows := query(t, schema(t), `
		SELECT c.relname,
		       coalesce((SELECT a.attname
		                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
		                 WHERE i.indrelid = c.oid AND i.indisprimary), '(no primary key)')
		FROM pg_class c
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')`)
	for _, row := range rows {
		table, column := row[0], row[1]
		if column != "organization_id" && !slices.Contains(global, table) {
			t.Errorf("the primary key of %s begins with %s", table, column)
		}
	}
}

// Audit events are immutable: no query updates or deletes them.
func TestAuditEventsAreOnlyInserted(t *testing.T) {
	t.Parallel()
	queries, err := filepath.Glob("queries/*.sql")
	if err != nil || len(queries) < 10 {
		t.Fatal(queries, err)
	}
	changes := regexp.MustCompile(`(?i)(update|delete\s+from|truncate|merge\s+into)\s+(table\s+)?audit_events`)
	for _, file := range queries {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := changes.Find(source); found != nil {
			t.Errorf("%s: %s", file, found)
		}
	}
}

func TestForeignKeysIncludeOrganization(t *testing.T) {
	t.Parallel()
	rows := query(t, schema(t), `
		SELECT n.conrelid::regclass::text, n.conname, n.confrelid::regclass::text, here.attname, there.attname
		FROM pg_constraint n
		JOIN pg_attribute here ON here.attrelid = n.conrelid AND here.attnum = n.conkey[1]
		JOIN pg_attribute there ON there.attrelid = n.confrelid AND there.attnum = n.confkey[1]
		WHERE n.contype = 'f'`)
	if len(rows) == 0 {
		t.Error("no foreign keys found")
	}
	for _, row := range rows {
		table, name, target, here, there := row[0], row[1], row[2], row[3], row[4]
		want := "organization_id"
		if slices.Contains(global, target) {
			want = "id"
		}
		if here != "organization_id" || there != want {
			t.Errorf("%s of %s references %s beginning with %s = %s, not with the organization", name, table, target, here, there)
		}
	}
}

// The store translates violations by the name of the constraint, so a name must state the table and
// the columns or the rule.
func TestConstraintsAndIndexesAreNamedAfterTable(t *testing.T) {
	t.Parallel()
	rows := query(t, schema(t), `
		SELECT c.relname, n.conname
		FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid
		WHERE c.relnamespace = 'public'::regnamespace
		  AND (n.conname !~ ('^' || c.relname || '_[a-z_]+$') OR n.conname ~ '_organization_id_')
		UNION
		SELECT c.relname, i.indexrelid::regclass::text
		FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE c.relnamespace = 'public'::regnamespace
		  AND (i.indexrelid::regclass::text !~ ('^' || c.relname || '_[a-z_]+$') OR i.indexrelid::regclass::text ~ '_organization_id_')`)
	for _, row := range rows {
		t.Errorf("%s of %s: name it explicitly, after its table and its purpose", row[1], row[0])
	}
}
