package faq

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"

	"parley/internal/apperr"
)

const (
	// maxUnpacked is how much the parts of an .xlsx file may hold together.
	maxUnpacked = 128 << 20
	// maxInMemory is the size from which a part is unpacked into a temporary file.
	maxInMemory = 16 << 20
	// maxElements bounds the parts that are read as a whole, where each element of a few bytes becomes many more, and
	// maxSheetElements those that are read row by row.
	maxElements      = 1_000_000
	maxSheetElements = 8_000_000
	// maxTag is how many bytes an element with its attributes may take.
	maxTag = 64 << 10
	// maxCells is how many cells the rows may have together, blank ones included: a row of one cell in the last column is
	// 16,384 of them.
	maxCells = 4_000_000
)

// readWorkbook reads the first sheet of an .xlsx file. The library was not written for hostile files: what it cannot
// read, however it says so, is the file's fault.
func (t *table) readWorkbook(file []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unreadable(fmt.Errorf("panic: %v", p))
		}
	}()
	if err := checkParts(file); err != nil {
		return err
	}
	book, err := excelize.OpenReader(bytes.NewReader(file), excelize.Options{
		UnzipSizeLimit: maxUnpacked, UnzipXMLSizeLimit: maxInMemory,
	})
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = book.Close() }() // it only removes temporary files
	sheets := book.GetSheetList()
	if len(sheets) == 0 {
		return invalidFile("The file has no worksheet.")
	}
	rows, err := book.Rows(sheets[0])
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = rows.Close() }()
	left, leftBytes := maxCells, maxUnpacked
	for number := 1; rows.Next(); number++ {
		if number > excelize.TotalRows {
			return invalidFile("The file has a row beyond the last one that a worksheet can have.")
		}
		cells, err := rows.Columns()
		if err != nil {
			return unreadable(err)
		}
		left -= len(cells)
		for _, cell := range cells {
			leftBytes -= len(cell)
		}
		if left < 0 || leftBytes < 0 {
			return apperr.New(apperr.TooLarge, "The worksheet has too many cells: leave only the columns that are named.")
		}
		if err := t.add(number, cells); err != nil {
			return err
		}
	}
	if err := rows.Error(); err != nil {
		return unreadable(err)
	}
	return nil
}

// checkParts adds up what the parts declare to hold, and reads each of them for what the library would make too much
// of. A part that holds more than it declares ends with an error when it is read; one that declares more than there can be
// would overflow the library's own sum.
func checkParts(file []byte) error {
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return unreadable(err)
	}
	left := uint64(maxUnpacked)
	for _, part := range archive.File {
		if part.UncompressedSize64 > left {
			return apperr.New(apperr.TooLarge, "The file holds more than 128 MiB when it is unpacked.")
		}
		left -= part.UncompressedSize64
	}
	elements := maxElements // of all such parts together
	var all texts
	for _, part := range archive.File {
		most := &elements
		if strings.HasPrefix(part.Name, "xl/worksheets/") {
			most = new(maxSheetElements)
		}
		if err := checkMarkup(part, most); err != nil {
			return err
		}
		if err := all.read(part); err != nil {
			return err
		}
	}
	return all.check()
}

// checkMarkup counts the elements of a part off those that are left. What is no markup has few of what looks like it.
func checkMarkup(part *zip.File, left *int) error {
	content, err := part.Open()
	if err != nil {
		return unreadable(err)
	}
	defer content.Close()
	buffer := make([]byte, 64<<10)
	tag := 0 // how long the one is that is read; 0 outside
	for {
		n, err := content.Read(buffer)
		for _, b := range buffer[:n] {
			switch {
			case b == '<':
				*left--
				tag = 1
			case b == '>':
				tag = 0
			case tag > 0:
				tag++
			}
			if *left < 0 || tag > maxTag {
				return tooMuch()
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

func unreadable(err error) error {
	f := invalidFile("The file cannot be read as .xlsx.")
	f.Err = err
	return f
}
