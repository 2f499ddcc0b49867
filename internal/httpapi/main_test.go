package httpapi_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"parley/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m, seen.check) }

// seen is every operation and status that the tests of this process have met.
var seen coverage

// coverage counts answers by operation and status: what the document declares and no test has met is a promise that
// nobody keeps an eye on.
type coverage struct {
	mu      sync.Mutex
	answers map[string]int
}

func (c *coverage) add(operation string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = map[string]int{}
	}
	c.answers[operation]++
	c.answers[operation+" "+strconv.Itoa(status)]++
}

// check tells what a whole run has left out; a run of chosen tests is not asked.
func (c *coverage) check() error {
	for _, narrowing := range []string{"run", "skip", "list", "fuzz", "bench"} {
		if f := flag.Lookup("test." + narrowing); f != nil && f.Value.String() != "" {
			return nil
		}
	}
	if f := flag.Lookup("test.fuzzworker"); f != nil && f.Value.String() == "true" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for _, op := range operations {
		if c.answers[op.id] == 0 {
			missing = append(missing, op.id)
			continue
		}
		for _, status := range op.statuses() {
			if c.answers[op.id+" "+status] == 0 {
				missing = append(missing, op.id+" "+status)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New(fmt.Sprintf("the document declares, and no test has met (%d):\n  ", len(missing)) + strings.Join(missing, "\n  "))
}
