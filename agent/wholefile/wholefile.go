// Package wholefile replaces files at once, and tells their contents by a hash.
package wholefile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// Replace writes a file that a reader sees whole or not at all; its folder is made.
func Replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReplaceJSON writes a value as a line of JSON.
func ReplaceJSON(path string, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return Replace(path, append(line, '\n'))
}

// Hash is SHA-256, as sha256sum prints it.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
