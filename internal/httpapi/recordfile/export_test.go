package recordfile

// ContentDisposition is tested with all names of files.
var ContentDisposition = contentDisposition
