//go:build !unix

package testbed

import (
	"context"
	"errors"
	"os/exec"
)

var (
	errLocked      = errors.New("locked by another process")
	errUnsupported = errors.New("local servers run on Linux and other Unix systems only; give the addresses of existing servers")
)

func lockNow(string) (func(), error)                   { return nil, errUnsupported }
func lockWait(context.Context, string) (func(), error) { return nil, errUnsupported }
func lockWaitShort(string) (func(), error)             { return nil, errUnsupported }
func secureDir(string) error                           { return errUnsupported }
func reachable(string) error                           { return errUnsupported }
func handOver(string) error                            { return errUnsupported }
func confine(*exec.Cmd) error                          { return errUnsupported }
func signalGroup(int, bool)                            {}
