package httpapi

// CleanJSON, IsSane and MaxDepth are shown to the tests of the parsers.
var (
	CleanJSON = cleanJSON
	IsSane    = isSane
)

// MaxDepth is how deep a body may nest.
const MaxDepth = maxDepth
