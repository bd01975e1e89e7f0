package trace

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// devices are the interfaces of the namespaces, by inode and index.
type devices struct {
	names map[[2]uint32]string
}

// inodeOf tells a namespace from others of this kernel.
func inodeOf(path string) (uint32, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, err
	}
	return uint32(stat.Ino), nil
}

// namespaceFiles gives the named namespaces of folders where such are kept: routers, bare systems, docker's overlays.
func namespaceFiles(folders ...string) map[string]string {
	found := map[string]string{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			found[filepath.Join(folder, e.Name())] = e.Name()
		}
	}
	return found
}

// readDevices lists the interfaces of a namespace.
func (d *devices) readDevices(inode uint32, path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	links, err := handle.LinkList()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, link := range links {
		d.names[[2]uint32{inode, uint32(link.Attrs().Index)}] = link.Attrs().Name
	}
	return nil
}

// forget lets go of a namespace's: its inode may be another one's one day.
func (d *devices) forget(inode uint32) {
	for key := range d.names {
		if key[0] == inode {
			delete(d.names, key)
		}
	}
}
