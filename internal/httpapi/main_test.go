package httpapi_test

import (
	"testing"

	"parley/internal/contracttest"
	"parley/internal/dbtest"
)

// A run fails when the document declares what none of its tests has met.
func TestMain(m *testing.M) { dbtest.Main(m, contracttest.CheckCoverage) }
