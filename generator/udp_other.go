//go:build !unix

package generator

func isRefused(error) bool { return false }
