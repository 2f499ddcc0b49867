// Package db holds the database schema: schema.sql is the current schema, migrations produce it, and
// queries are the input of sqlc.
package db

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations holds the migrations in order. They only migrate forward.
var Migrations fs.FS = sub()

// Schema is schema.sql, which equals the result of the migrations.
//
//go:embed schema.sql
var Schema string

func sub() fs.FS {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // Cannot happen: the directory is embedded.
	}
	return migrations
}
