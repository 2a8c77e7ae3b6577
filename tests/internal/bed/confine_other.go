//go:build !linux

package bed

import "os/exec"

func confine(*exec.Cmd) {}
