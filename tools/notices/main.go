// Notices writes THIRD_PARTY_NOTICES: the license texts of all third-party software in the released binaries. These
// are the Go modules that are linked into cmd/server on any released platform, the Go standard library, and the
// assets and data that the binaries embed.
//
// It fails if a component has no license, or one that is not in the allow list. With -check it fails, and writes
// nothing, if the file is out of date.
//
// The texts of modules come from the module cache. Other texts are committed below texts/. The output depends only on
// go.mod and these texts, not on the machine.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	program    = "./cmd/server"
	outputFile = "THIRD_PARTY_NOTICES"
	textsDir   = "tools/notices/texts"
)

// platforms are the platforms of released binaries.
var platforms = []struct{ system, architecture string }{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// allowed are the SPDX identifiers of the allowed licenses. All of them are permissive and require only their text
// and notices, which this file contains. Copyleft licenses are not allowed, including MPL-2.0: no component needs it.
var allowed = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "Unicode-3.0", "Zlib"}

// embedded are components that are not Go modules.
var embedded = []struct {
	name  string
	texts string // directory below textsDir
	file  string // an embedded file, which must exist
	// carrier is the module that embeds the component. The texts were taken for one version of it.
	carrier, carrierVersion string
}{
	{name: "The Go standard library and runtime", texts: "go"},
	{name: "Swagger UI 5.29.1 (assets of the reference page)", texts: "swagger-ui", carrier: "github.com/swaggest/swgui", carrierVersion: "v1.8.5"},
	{name: "Unicode CLDR (data in internal/faq/hanzi.txt)", texts: "unicode", file: "internal/faq/hanzi.txt"},
}

func main() {
	root := flag.String("root", ".", "root `DIR` of the source tree")
	isCheck := flag.Bool("check", false, "check the file instead of writing it")
	flag.Parse()
	if err := run(*root, *isCheck); err != nil {
		fmt.Fprintf(os.Stderr, "notices: %v\n", err)
		os.Exit(1)
	}
}

func run(root string, isCheck bool) error {
	components, err := linkedModules(root)
	if err != nil {
		return err
	}
	others, err := embeddedComponents(root, components)
	if err != nil {
		return err
	}
	components = append(components, others...)
	var problems []error
	for i := range components {
		problems = append(problems, components[i].classify())
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	path, notices := filepath.Join(root, outputFile), render(components)
	if !isCheck {
		return os.WriteFile(path, notices, 0o644)
	}
	if existing, err := os.ReadFile(path); err != nil || !bytes.Equal(existing, notices) {
		return fmt.Errorf("%s is out of date: run make notices", outputFile)
	}
	return nil
}

// component is third-party software in the binaries.
type component struct {
	name     string
	version  string
	texts    map[string]string // by file name, relative to the component
	licenses []string
}

func (c component) String() string { return strings.TrimSpace(c.name + " " + c.version) }

// linkedModules returns the modules with a package in the program on any platform, sorted.
func linkedModules(root string) ([]component, error) {
	found := map[string]component{}
	for _, platform := range platforms {
		list := exec.Command("go", "list", "-deps", "-json=Dir,Module", program)
		list.Dir = root
		list.Env = append(os.Environ(), "GOOS="+platform.system, "GOARCH="+platform.architecture, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
		list.Stderr = os.Stderr
		output, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("list the packages for %s: %w", platform.system, err)
		}
		if err := addModules(found, output); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b component) int { return cmp.Compare(a.name, b.name) }), nil
}

// addModules adds the modules in the output of go list, with the texts that apply to each package.
func addModules(found map[string]component, output []byte) error {
	type listedPackage struct {
		Dir    string
		Module *struct {
			Path, Version, Dir string
			Main               bool
		}
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the output of go list: %w", err)
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		if _, ok := found[p.Module.Path]; !ok {
			found[p.Module.Path] = component{name: p.Module.Path, version: p.Module.Version, texts: map[string]string{}}
		}
		// A directory may have its own license, which then applies to the packages below it.
		for dir := p.Dir; ; dir = filepath.Dir(dir) {
			if err := addTexts(found[p.Module.Path].texts, p.Module.Dir, dir); err != nil {
				return err
			}
			if dir == p.Module.Dir {
				break
			}
		}
	}
}

// licenseFile matches the names of files with licenses and notices.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([.-](txt|md))?$|\.licen[cs]e\.txt$`)

// noticeFile matches the names of files that add notices to a license but do not grant one.
var noticeFile = regexp.MustCompile(`(?i)^(copyright|notice|patents)\b|\.js\.licen[cs]e\.txt$`)

func addTexts(texts map[string]string, root, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		texts[filepath.ToSlash(name)] = tidy(string(content))
	}
	return nil
}

// tidy normalizes line ends and outer blank lines, so that equal texts compare equal.
func tidy(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// embeddedComponents returns the components that are not modules.
func embeddedComponents(root string, modules []component) ([]component, error) {
	var all []component
	for _, e := range embedded {
		if e.file != "" {
			if _, err := os.Stat(filepath.Join(root, e.file)); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
		}
		if e.carrier != "" {
			i := slices.IndexFunc(modules, func(m component) bool { return m.name == e.carrier })
			if i < 0 || modules[i].version != e.carrierVersion {
				return nil, fmt.Errorf("%s was taken from %s %s, which is not linked: update %s/%s for the version that is", e.name, e.carrier, e.carrierVersion, textsDir, e.texts)
			}
		}
		texts, dir := map[string]string{}, filepath.Join(root, textsDir, e.texts)
		if err := addTexts(texts, dir, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		all = append(all, component{name: e.name, texts: texts})
	}
	return all, nil
}

// markers are phrases that identify a license, in lower case and with single spaces.
var markers = []struct{ license, phrase string }{
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"},
	{"BSD-2-Clause", "redistribution and use in source and binary forms, with or without modification, are permitted"},
	{"Apache-2.0", "apache license version 2.0, january 2004"},
	{"Apache-2.0", "licensed under the apache license, version 2.0"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
	{"Unicode-3.0", "unicode license v3"},
	{"Zlib", "this software is provided 'as-is', without any express or implied warranty"},
	{"MPL-2.0", "mozilla public license"},
	{"GPL", "gnu general public license"},
	{"LGPL", "gnu lesser general public license"},
	{"AGPL", "gnu affero general public license"},
	{"BUSL-1.1", "business source license"},
	{"SSPL-1.0", "server side public license"},
}

// endorsement is the third clause, which BSD-2-Clause lacks.
var endorsement = regexp.MustCompile(`neither the names? of|may not be used to endorse or promote`)

// licensesIn returns the licenses that a text grants.
func licensesIn(text string) []string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	var found []string
	for _, marker := range markers {
		if !strings.Contains(text, marker.phrase) {
			continue
		}
		if marker.license == "BSD-2-Clause" && endorsement.MatchString(text) {
			marker.license = "BSD-3-Clause"
		}
		found = append(found, marker.license)
	}
	return found
}

// classify sets the component's licenses. Each license file must contain known licenses, all of them allowed, and one
// file must be in the root.
func (c *component) classify() error {
	hasRoot := false
	for _, name := range slices.Sorted(maps.Keys(c.texts)) {
		if noticeFile.MatchString(filepath.Base(name)) {
			continue
		}
		found := licensesIn(c.texts[name])
		if len(found) == 0 {
			return fmt.Errorf("%s: unknown license in %s", c, name)
		}
		for _, license := range found {
			if !slices.Contains(allowed, license) {
				return fmt.Errorf("%s: the license %s in %s is not allowed", c, license, name)
			}
		}
		hasRoot = hasRoot || !strings.Contains(name, "/")
		c.licenses = append(c.licenses, found...)
	}
	if !hasRoot {
		return fmt.Errorf("%s: no license", c)
	}
	slices.Sort(c.licenses)
	c.licenses = slices.Compact(c.licenses)
	return nil
}

// render returns the contents of the file: a list of the components, then each different text once,
// with the components that it is for.
func render(components []component) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Third-party notices\n\nThe Parley server contains the following software and data of others. Their licenses and\nnotices follow the list. This file is generated by make notices.\n\n")
	usedBy := map[string][]string{}
	var order []string
	for _, c := range components {
		fmt.Fprintf(&out, "  %s (%s)\n", c, strings.Join(c.licenses, ", "))
		for _, name := range slices.Sorted(maps.Keys(c.texts)) {
			text := c.texts[name]
			if usedBy[text] == nil {
				order = append(order, text)
			}
			usedBy[text] = append(usedBy[text], c.String()+": "+name)
		}
	}
	for _, text := range order {
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(usedBy[text], "\n"), strings.Repeat("-", 80), text)
	}
	return out.Bytes()
}
