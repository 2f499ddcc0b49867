package backup

// NameOf is what PostgreSQL's programs are called with.
var NameOf = nameOf
