//go:build tools

// Package tools pins GoBGP: Debian's 3.10 knows no passwords for ranges of neighbours.
package tools

import (
	_ "github.com/osrg/gobgp/v3/cmd/gobgp"
	_ "github.com/osrg/gobgp/v3/cmd/gobgpd"
)
