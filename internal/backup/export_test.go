package backup

// ConnectionString exports connectionString to the tests.
var ConnectionString = connectionString
