package recordfile

// ContentDisposition is exported for fuzzing.
var ContentDisposition = contentDisposition
