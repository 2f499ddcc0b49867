package sheet

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/net/html/charset"

	"parley/internal/apperr"
)

// archive is the parts of a workbook.
type archive struct {
	parts   map[string]*zip.File // by their names in lower case
	checked map[string]bool      // the parts whose markup is bounded
	sheets  int                  // XML elements that worksheets may have, those of empty cells included
	others  int                  // XML elements that the other parts may have
}

// openArchive checks the sizes that parts declare. Reading fails for a part that is larger. Parts
// that are not markup, such as pictures, are never read.
func openArchive(file []byte) (*archive, error) {
	reader, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, unreadable(err)
	}
	a := &archive{parts: map[string]*zip.File{}, checked: map[string]bool{}, sheets: maxSheetMarkup, others: maxElements}
	left := uint64(maxUncompressed)
	for _, part := range reader.File {
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(part.Name, `\`, "/"), "/"))
		a.parts[name] = part
		if !strings.HasSuffix(name, ".xml") && !strings.HasSuffix(name, ".rels") {
			continue
		}
		if part.UncompressedSize64 > left {
			return nil, apperr.New(apperr.TooLarge, "The file is larger than "+unpackedLimit+" when it is unpacked.")
		}
		left -= part.UncompressedSize64
	}
	return a, nil
}

// open returns the XML of a part, or nil if the part is missing. It bounds the part's elements and
// tags first, because the decoder has a whole tag in memory.
func (a *archive) open(name string, elementsLeft *int) (*xml.Decoder, error) {
	name = strings.ToLower(name)
	part := a.parts[name]
	if part == nil {
		return nil, nil //nolint:nilnil // most parts are optional
	}
	if !a.checked[name] {
		if err := checkMarkup(part, elementsLeft); err != nil {
			return nil, err
		}
		a.checked[name] = true
	}
	content, err := part.Open()
	if err != nil {
		return nil, unreadable(err)
	}
	decoder := xml.NewDecoder(content)
	decoder.CharsetReader = charset.NewReaderLabel
	return decoder, nil
}

// checkMarkup counts elements and measures tags without parsing them, which is far cheaper.
func checkMarkup(part *zip.File, elementsLeft *int) error {
	content, err := part.Open()
	if err != nil {
		return unreadable(err)
	}
	defer content.Close()
	buffer := make([]byte, 64<<10)
	length := 0 // of the tag; 0 outside of tags
	for {
		n, err := content.Read(buffer)
		for _, b := range buffer[:n] {
			switch {
			case b == '<':
				*elementsLeft--
				length = 1
			case b == '>':
				length = 0
			case length == 1 && b == '/':
				*elementsLeft++
				length++
			case length > 0:
				length++
			}
			if *elementsLeft < 0 || length > maxTag {
				return tooComplex()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
	}
}

// decode reads a part as a whole. A missing part leaves v as it is.
func (a *archive) decode(name string, v any) error {
	decoder, err := a.open(name, &a.others)
	if err != nil || decoder == nil {
		return err
	}
	if err := decoder.Decode(v); err != nil {
		return unreadable(err)
	}
	return nil
}

type relation struct {
	ID     string `xml:"Id,attr"`
	Type   string `xml:"Type,attr"`
	Target string `xml:"Target,attr"`
	Mode   string `xml:"TargetMode,attr"`
}

// kind returns the end of the type. Its beginning differs between the variants of the format.
func (r relation) kind() string { return path.Base(r.Type) }

// relations returns the relations of a part. Targets within the file are names of parts.
func (a *archive) relations(part string) ([]relation, error) {
	var list struct {
		Relations []relation `xml:"Relationship"`
	}
	folder, base := path.Split(part)
	if err := a.decode(folder+"_rels/"+base+".rels", &list); err != nil {
		return nil, err
	}
	for i, r := range list.Relations {
		switch {
		case strings.EqualFold(r.Mode, "External"), r.kind() == "hyperlink":
		case strings.HasPrefix(r.Target, "/"):
			list.Relations[i].Target = strings.TrimPrefix(path.Clean(r.Target), "/")
		default:
			list.Relations[i].Target = path.Join(folder, strings.ReplaceAll(r.Target, `\`, "/"))
		}
	}
	return list.Relations, nil
}
