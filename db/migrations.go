// Package db is the database's schema: schema.sql as it is, migrations as any
// database gets there, queries as sqlc reads them.
package db

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations holds the migrations in order, forward only.
var Migrations fs.FS = sub()

// Schema is schema.sql: what the migrations amount to.
//
//go:embed schema.sql
var Schema string

func sub() fs.FS {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return migrations
}
