package httpapi

// IsSane is shown to the tests of the parsers.
var IsSane = isSane
