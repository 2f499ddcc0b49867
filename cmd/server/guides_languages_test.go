//go:build sdk

package main

import "os/exec"

// Python and Node are there where the checks are run.
func init() {
	interpreters["python"] = func(file string) *exec.Cmd { return exec.Command("python3", file) }
	interpreters["js"] = func(file string) *exec.Cmd {
		// (A file of that ending is a module; sockets, which browsers have, are an experiment in Node 20.)
		return exec.Command("node", "--experimental-websocket", "--experimental-default-type=module", "--no-warnings", file)
	}
}
