package trace

import (
	"slices"
	"testing"
)

// isOurs looks as the programs do.
func isOurs(slots []uint32, inode uint32) bool {
	for i := range uint32(namespaceTries) {
		switch slots[(inode+i)%uint32(namespaceSlots)] {
		case inode:
			return true
		case 0:
			return false
		}
	}
	return false
}

func TestNamespacesThatStayKeepTheirSlots(t *testing.T) {
	far := uint32(namespaceSlots)
	all := []uint32{4026531840, 4026531840 + far, 4026531840 + 2*far, 4026531841}
	before, err := slotsOf(nil, all)
	if err != nil {
		t.Fatal(err)
	}
	after, err := slotsOf(before, append([]uint32{4026540000}, all[2:]...))
	if err != nil {
		t.Fatal(err)
	}
	for _, inode := range all[2:] {
		if slices.Index(before, inode) != slices.Index(after, inode) || !isOurs(after, inode) {
			t.Errorf("%d moved, or is not found", inode)
		}
	}
	if isOurs(after, all[0]) || isOurs(after, all[1]) || !isOurs(after, 4026540000) {
		t.Error("one that went is found, or a new one is not")
	}
	if again, err := slotsOf(after, all); err != nil || !isOurs(again, all[0]) || !isOurs(again, all[1]) {
		t.Errorf("those that came back: %v", err)
	}
}
