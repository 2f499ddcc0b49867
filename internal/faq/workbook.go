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

// The limits of .xlsx files. excelize was not written for hostile files, and some of its structures
// are many times larger than the XML that they are read from.
const (
	// maxUncompressed bounds the uncompressed parts together, in bytes.
	maxUncompressed = 128 << 20
	// maxInMemory is the size from which excelize unpacks a part into a temporary file.
	maxInMemory = 16 << 20
	// maxElements bounds the XML elements of the parts that are read as a whole, all of them
	// together.
	maxElements = 1_000_000
	// maxSheetElements bounds the XML elements of a worksheet, which is read row by row.
	maxSheetElements = 8_000_000
	// maxTag bounds a tag with its attributes, in bytes.
	maxTag = 64 << 10
	// maxCells bounds the cells of all rows, blank ones included. A row whose only cell is in the
	// last column has 16,384.
	maxCells = 4_000_000
)

// readWorkbook reads the first worksheet of an .xlsx file. Any failure of excelize, including a
// panic, is reported as an error of the file.
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
		UnzipSizeLimit: maxUncompressed, UnzipXMLSizeLimit: maxInMemory,
	})
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = book.Close() }() // only removes temporary files
	sheets := book.GetSheetList()
	if len(sheets) == 0 {
		return invalidFile("The file has no worksheet.")
	}
	rows, err := book.Rows(sheets[0])
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = rows.Close() }()
	cellsLeft, bytesLeft := maxCells, maxUncompressed
	for number := 1; rows.Next(); number++ {
		if number > excelize.TotalRows {
			return invalidFile("The file has more rows than a worksheet can have.")
		}
		cells, err := rows.Columns()
		if err != nil {
			return unreadable(err)
		}
		cellsLeft -= len(cells)
		for _, cell := range cells {
			bytesLeft -= len(cell)
		}
		if cellsLeft < 0 || bytesLeft < 0 {
			return apperr.New(apperr.TooLarge, "The worksheet has too many cells: keep only the named columns.")
		}
		if err := t.addRow(number, cells); err != nil {
			return err
		}
	}
	if err := rows.Error(); err != nil {
		return unreadable(err)
	}
	return nil
}

// checkParts checks the limits of all parts before excelize reads them. Reading fails for a part
// that is larger than it declares; declared sizes are checked one by one, because excelize's own
// sum of them could overflow.
func checkParts(file []byte) error {
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return unreadable(err)
	}
	left := uint64(maxUncompressed)
	for _, part := range archive.File {
		if part.UncompressedSize64 > left {
			return apperr.New(apperr.TooLarge, "The file is larger than 128 MiB when it is unpacked.")
		}
		left -= part.UncompressedSize64
	}
	elementsLeft := maxElements
	var size textSize
	for _, part := range archive.File {
		left := &elementsLeft
		if strings.HasPrefix(part.Name, "xl/worksheets/") {
			left = new(maxSheetElements)
		}
		if err := checkMarkup(part, left); err != nil {
			return err
		}
		if err := size.addPart(part); err != nil {
			return err
		}
	}
	return size.check()
}

// checkMarkup subtracts the elements of a part from those left, and checks the length of its tags.
// Binary parts contain few bytes that look like tags.
func checkMarkup(part *zip.File, elementsLeft *int) error {
	content, err := part.Open()
	if err != nil {
		return unreadable(err)
	}
	defer content.Close()
	buffer := make([]byte, 64<<10)
	tagLength := 0 // 0 outside of tags
	for {
		n, err := content.Read(buffer)
		for _, b := range buffer[:n] {
			switch {
			case b == '<':
				*elementsLeft--
				tagLength = 1
			case b == '>':
				tagLength = 0
			case tagLength > 0:
				tagLength++
			}
			if *elementsLeft < 0 || tagLength > maxTag {
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

func unreadable(cause error) error {
	err := invalidFile("The file cannot be read as .xlsx.")
	err.Err = cause
	return err
}

func tooComplex() error {
	return apperr.New(apperr.TooLarge, "The file contains more than a table of FAQs needs: copy the FAQs into a new file.")
}
