package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The version is printed even where no setting is valid and there is no home directory.
func TestTheVersionNeedsNoConfiguration(t *testing.T) {
	for _, argument := range []string{"version", "--version"} {
		command := exec.Command(parley, argument)
		command.Env = []string{"PARLEY_ADDR=nonsense"}
		out, err := command.Output()
		if err != nil || !strings.HasPrefix(string(out), "parley ") {
			t.Errorf("parley %s: %q, %v", argument, out, err)
		}
	}
}
