//go:build !unix

package main

// syncDir does nothing: other systems cannot sync a directory.
func syncDir(string) error { return nil }
