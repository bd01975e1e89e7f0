//go:build tools

// Package tools pins Cilium: the last line with a docker plugin (plugins/cilium-docker).
package tools

import (
	_ "github.com/cilium/cilium/cilium-dbg"
	_ "github.com/cilium/cilium/daemon"
	_ "github.com/cilium/cilium/plugins/cilium-docker"
)
