package records

// AppendCSV is shown to its benchmark.
var AppendCSV = appendCSV
