package testbed

import "syscall"

// dieWithParent has the kernel kill the child when we end without a word.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
