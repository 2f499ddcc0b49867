//go:build sdk

package main

import "os/exec"

// Python and Node are installed on the machines that run the checks.
func init() {
	interpreters["python"] = func(file string) *exec.Cmd { return exec.Command("python3", file) }
	interpreters["js"] = func(file string) *exec.Cmd {
		// Node 20 considers WebSockets and module detection experimental.
		return exec.Command("node", "--experimental-websocket", "--experimental-default-type=module", "--no-warnings", file)
	}
}
