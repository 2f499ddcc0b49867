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

// generated is where the product's statements are.
const generated = "gen/db/messages.sql.go"

// statement is one of the product's, as it is in the source at this moment.
type statement struct {
	sql    string
	params []string // the names of $1, $2 …
}

// readStatement reads the generated source: the constant that holds the statement
// and the struct of its parameters.
func readStatement(constant, params string) (statement, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(generated), nil, parser.SkipObjectResolution)
	if err != nil {
		return statement{}, fmt.Errorf("read the statements (in the root of the source): %w", err)
	}
	var found statement
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ValueSpec:
			if n.Names[0].Name != constant || len(n.Values) == 0 {
				break
			}
			if text, ok := n.Values[0].(*ast.BasicLit); ok {
				found.sql, err = strconv.Unquote(text.Value)
			}
		case *ast.TypeSpec:
			fields, ok := n.Type.(*ast.StructType)
			if n.Name.Name != params || !ok {
				break
			}
			for _, field := range fields.Fields.List {
				found.params = append(found.params, field.Names[0].Name)
			}
		}
		return true
	})
	if err == nil && (found.sql == "" || len(found.params) == 0) {
		err = fmt.Errorf("there is no %s with %s in %s", constant, params, generated)
	}
	return found, err
}

var placeholder = regexp.MustCompile(`\$(\d+)`)

// script makes the statement one of pgbench's: values tells, for each parameter,
// what stands for it, an expression over pgbench's variables; the missing ones are
// null, in a way that the planner cannot know. Each has the type that PostgreSQL
// gave the parameter.
func (s statement) script(ctx context.Context, url string, values map[string]string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	described, err := conn.Prepare(ctx, "", s.sql)
	if err != nil {
		return "", fmt.Errorf("prepare the statement: %w", err)
	}
	if len(described.ParamOIDs) != len(s.params) {
		return "", fmt.Errorf("the statement has %d parameters, not %d", len(described.ParamOIDs), len(s.params))
	}
	var unknown error
	script := placeholder.ReplaceAllStringFunc(s.sql, func(text string) string {
		number, err := strconv.Atoi(text[1:])
		if err != nil || number > len(s.params) {
			unknown = fmt.Errorf("the statement has no parameter %s", text)
			return text
		}
		typed, ok := conn.TypeMap().TypeForOID(described.ParamOIDs[number-1])
		if !ok {
			unknown = fmt.Errorf("the type of %s is not known", text)
			return text
		}
		value, ok := values[s.params[number-1]]
		if !ok {
			value = "nullif(:nothing::text, '" + nothing + "')"
		}
		return "(" + value + ")::" + typed.Name
	})
	return script + ";\n", unknown
}
