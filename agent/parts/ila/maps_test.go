package ila

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlatPinsMoveToAFolderOfTheirOwn(t *testing.T) {
	flat := t.TempDir()
	pins := filepath.Join(flat, "ila")
	if err := moveFlatPins(filepath.Join(flat, "absent", "ila")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"mappings", "port-out-ff-web", "uplink-in-port-in-1", "somebody-elses"} {
		if err := os.WriteFile(filepath.Join(flat, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := moveFlatPins(pins); err != nil {
			t.Fatal(err)
		}
	}
	names := func(folder string) string {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return strings.Join(all, " ")
	}
	if got := names(pins); got != "ila_port_out-ff-web ila_uplink_in-port-in-1 mappings" {
		t.Error(got)
	}
	if got := names(flat); got != "ila somebody-elses" {
		t.Error(got)
	}
}
