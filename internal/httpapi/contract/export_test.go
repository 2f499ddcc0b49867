package contract

// IsValidRequestID is exported for fuzzing.
var IsValidRequestID = isValidRequestID
