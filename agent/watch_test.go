package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is put into a folder, renamed into it and taken away is named; what comes while nobody looks is kept.
func TestNamesOfAFolder(t *testing.T) {
	folder := t.TempDir()
	changed := changedNames{news: make(chan struct{}, 1)}
	if err := watchFolder(folder, changed.add); err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.json")
	write(".b.new")
	if err := os.Rename(filepath.Join(folder, ".b.new"), filepath.Join(folder, "a-longer-name.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "a.json")); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for end := time.Now().Add(5 * time.Second); len(found) < 3 && time.Now().Before(end); {
		select {
		case <-changed.news:
			for name := range changed.take() {
				found[name] = true
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, name := range []string{"a.json", ".b.new", "a-longer-name.json"} {
		if !found[name] {
			t.Errorf("%s is not named: %v", name, found)
		}
	}
}

func TestNamesOfEvents(t *testing.T) {
	// The kernel's word for lost events has no name; what is cut off is none.
	lost := make([]byte, 16)
	if names := namesOf(append(lost, 1, 2, 3)); len(names) != 1 || names[0] != "" {
		t.Errorf("%q", names)
	}
}
