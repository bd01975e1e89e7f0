package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"flipflap.local/agent/contract"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// nftIn runs the server's nft in a container's network: whatever its image is. By the namespace that is held, and not by a
// process's number, which may be another's by now.
func (a *agent) nftIn(ns netns.NsHandle, input string, words ...string) (string, error) {
	// A file of its own: the handle stays the caller's.
	own, err := unix.FcntlInt(uintptr(ns), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(own), "netns")
	defer file.Close()
	return a.tellHost(file, input, append([]string{"nsenter", "--net=" + inherited, "nft"}, words...)...)
}

// listNftables gives all rules without counters and what else changes by itself.
func (a *agent) listNftables(ns netns.NsHandle) (string, error) {
	listed, err := a.nftIn(ns, "", "-s", "list", "ruleset")
	return withoutLearned(listed), err
}

// withoutLearned leaves out the elements of sets and maps that rules fill as packets pass (flags dynamic).
func withoutLearned(listed string) string {
	var kept []string
	dynamic, inElements := false, false
	for _, line := range strings.Split(listed, "\n") {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "set ") || strings.HasPrefix(text, "map ") || strings.HasPrefix(text, "chain "):
			dynamic, inElements = false, false
		case strings.HasPrefix(text, "flags "):
			dynamic = strings.Contains(text, "dynamic")
		case dynamic && strings.HasPrefix(text, "elements = {"):
			inElements = true
		}
		if !inElements {
			kept = append(kept, line)
		}
		if inElements && strings.HasSuffix(text, "}") {
			inElements = false
		}
	}
	return strings.Join(kept, "\n")
}

// settleNftables makes the rules in a container those of its plan, in one step; none where the plan has none any more.
func (a *agent) settleNftables(s *spec, ns netns.NsHandle) error {
	before := a.statusOf(s.System).Nftables
	if s.Nftables == "" && before == nil {
		return nil
	}
	// What is there stays known where new rules are refused.
	s.nftables = before
	listed, err := a.listNftables(ns)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	now := contract.ToldNftables{Told: shortHash(s.Nftables), Listed: shortHash(listed)}
	if before != nil && *before == now {
		return nil
	}
	if _, err := a.nftIn(ns, "flush ruleset\n"+s.Nftables, "-f", "-"); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if listed, err = a.listNftables(ns); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	s.nftables = nil
	if s.Nftables != "" {
		s.nftables = &contract.ToldNftables{Told: now.Told, Listed: shortHash(listed)}
	}
	return nil
}

// lookAtNftables compares with what was listed when the plan's rules were put there.
func (a *agent) lookAtNftables(s *spec, ns netns.NsHandle) (string, error) {
	if s.Nftables == "" {
		return "", nil
	}
	told := readStatus(a.files.Status, s.System).Nftables
	listed, err := a.listNftables(ns)
	if err != nil {
		return "", err
	}
	if told == nil || told.Told != shortHash(s.Nftables) || told.Listed != shortHash(listed) {
		return "changed", nil
	}
	return "as declared", nil
}
