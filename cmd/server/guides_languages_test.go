//go:build sdk

package main

import "os/exec"

// Python and Node are installed where the checks run.
func init() {
	interpreters["python"] = func(file string) *exec.Cmd { return exec.Command("python3", file) }
	interpreters["js"] = func(file string) *exec.Cmd {
		// WebSockets and detecting modules by the file's name are experimental in Node 20.
		return exec.Command("node", "--experimental-websocket", "--experimental-default-type=module", "--no-warnings", file)
	}
}
