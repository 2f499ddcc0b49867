package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// generatedFile contains the product's statements.
const generatedFile = "gen/db/messages.sql.go"

// statement is one of the product's statements, read from the source tree.
type statement struct {
	sql    string
	params []string // the names of $1, $2 …
}

// readStatement reads the constant with the statement and the struct with its parameters.
func readStatement(constant, params string) (statement, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(generatedFile), nil, parser.SkipObjectResolution)
	if err != nil {
		return statement{}, fmt.Errorf("read the statements (in the root of the source tree): %w", err)
	}
	var s statement
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ValueSpec:
			if n.Names[0].Name != constant || len(n.Values) == 0 {
				break
			}
			if text, ok := n.Values[0].(*ast.BasicLit); ok {
				s.sql, err = strconv.Unquote(text.Value)
			}
		case *ast.TypeSpec:
			fields, ok := n.Type.(*ast.StructType)
			if n.Name.Name != params || !ok {
				break
			}
			for _, field := range fields.Fields.List {
				s.params = append(s.params, field.Names[0].Name)
			}
		}
		return true
	})
	if err == nil && (s.sql == "" || len(s.params) == 0) {
		err = fmt.Errorf("no %s with %s in %s", constant, params, generatedFile)
	}
	return s, err
}

var placeholder = regexp.MustCompile(`\$(\d+)`)

// script returns the statement for pgbench. values maps parameters to expressions over pgbench's
// variables; other parameters are null, hidden from the planner. Each expression is cast to the
// type that PostgreSQL infers for its parameter.
func (s statement) script(ctx context.Context, url string, values map[string]string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	description, err := conn.Prepare(ctx, "", s.sql)
	if err != nil {
		return "", fmt.Errorf("prepare the statement: %w", err)
	}
	if len(description.ParamOIDs) != len(s.params) {
		return "", fmt.Errorf("the statement has %d parameters, the struct %d", len(description.ParamOIDs), len(s.params))
	}
	var invalid error
	script := placeholder.ReplaceAllStringFunc(s.sql, func(text string) string {
		number, err := strconv.Atoi(text[1:])
		if err != nil || number > len(s.params) {
			invalid = fmt.Errorf("the statement has no parameter %s", text)
			return text
		}
		typed, ok := conn.TypeMap().TypeForOID(description.ParamOIDs[number-1])
		if !ok {
			invalid = fmt.Errorf("the parameter %s has an unknown type", text)
			return text
		}
		value, ok := values[s.params[number-1]]
		if !ok {
			value = "nullif(:nothing::text, '" + nullMarker + "')"
		}
		return "(" + value + ")::" + typed.Name
	})
	return script + ";\n", invalid
}
