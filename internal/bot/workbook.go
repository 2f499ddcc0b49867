package bot

import (
	"archive/zip"
	"bytes"
	"fmt"

	"github.com/xuri/excelize/v2"

	"parley/internal/fault"
)

const (
	// maxUnpacked is how much the parts of an .xlsx file may hold together.
	maxUnpacked = 128 << 20
	// maxInMemory is the size from which a part is unpacked into a temporary file.
	maxInMemory = 16 << 20
)

// readWorkbook reads the first sheet of an .xlsx file. The library was not written for hostile files: what it cannot
// read, however it says so, is the file's fault.
func (t *table) readWorkbook(file []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unreadable(fmt.Errorf("panic: %v", p))
		}
	}()
	if err := checkUnpacked(file); err != nil {
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
	for number := 1; rows.Next(); number++ {
		if number > excelize.TotalRows {
			return invalidFile("The file has a row beyond the last one that a worksheet can have.")
		}
		cells, err := rows.Columns()
		if err != nil {
			return unreadable(err)
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

// checkUnpacked adds up what the parts declare to hold. A part that holds more than it declares ends with an error when
// it is read; one that declares more than there can be would overflow the library's own sum.
func checkUnpacked(file []byte) error {
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return unreadable(err)
	}
	left := uint64(maxUnpacked)
	for _, part := range archive.File {
		if part.UncompressedSize64 > left {
			return fault.New(fault.TooLarge, "The file holds more than 128 MiB when it is unpacked.")
		}
		left -= part.UncompressedSize64
	}
	return nil
}

func unreadable(err error) error {
	f := invalidFile("The file cannot be read as .xlsx.")
	f.Err = err
	return f
}
