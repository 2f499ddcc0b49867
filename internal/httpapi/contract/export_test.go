package contract

// IsValidRequestID is fuzzed.
var IsValidRequestID = isValidRequestID
