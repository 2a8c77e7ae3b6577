package bed

import (
	"os/exec"
	"syscall"
)

// confine makes the child end with this process, however that ends.
func confine(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
