package httpapi_test

import (
	"testing"

	"parley/internal/contracttest"
	"parley/internal/dbtest"
)

// The run fails if a declared response was never exercised.
func TestMain(m *testing.M) { dbtest.Main(m, contracttest.CheckCoverage) }
