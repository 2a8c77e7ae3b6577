//go:build unix && !linux

package testbed

import "syscall"

// dieWithParent does nothing: only Linux can tie a child to its parent. A
// killed demo leaves its servers running elsewhere.
func dieWithParent(*syscall.SysProcAttr) {}
