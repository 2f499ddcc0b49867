package bot

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"

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
	defer book.Close()
	sheets := book.GetSheetList()
	if len(sheets) == 0 {
		return invalidFile("The file has no worksheet.")
	}
	rows, err := book.Rows(sheets[0])
	if err != nil {
		return unreadable(err)
	}
	defer rows.Close()
	for number := 1; rows.Next(); number++ {
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

// checkUnpacked unpacks the whole file into nothing: the sizes that it declares may be lies, and the library believes
// them.
func checkUnpacked(file []byte) error {
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return unreadable(err)
	}
	left := int64(maxUnpacked)
	for _, part := range archive.File {
		n, err := unpackedSize(part, left)
		if err != nil {
			return unreadable(err)
		}
		if left -= n; left < 0 {
			return fault.New(fault.TooLarge, "The file holds more than 128 MiB when it is unpacked.")
		}
	}
	return nil
}

// unpackedSize counts up to one byte more than the limit.
func unpackedSize(part *zip.File, limit int64) (int64, error) {
	content, err := part.Open()
	if err != nil {
		return 0, err
	}
	defer content.Close()
	return io.Copy(io.Discard, io.LimitReader(content, limit+1))
}

func unreadable(err error) error {
	sentence := "The file cannot be read as .xlsx."
	f := invalidFile(sentence)
	f.Err = err
	return f
}
