package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"flipflap.local/agent/docker"
)

// joinDocker joins a running container to the docker networks of its plan, and to no other. Docker does so by itself at later starts.
func (a *agent) joinDocker(ctx context.Context, s *spec, c *docker.Container) error {
	wanted := map[string]string{}
	for _, iface := range s.Interfaces {
		if iface.Docker == nil {
			continue
		}
		if err := a.guardNetwork(ctx, iface.Docker); err != nil {
			return fmt.Errorf("network %s: nobody is let in: %w", iface.Network, err)
		}
		if len(iface.Addresses) > 0 {
			wanted[iface.Docker.Network], _, _ = strings.Cut(iface.Addresses[0], "/")
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for name, endpoint := range c.NetworkSettings.Networks {
		if address, is := wanted[name]; is && endpoint.EndpointID != "" && endpoint.IPAddress == address {
			delete(wanted, name)
			continue
		}
		if err := a.docker.Post(ctx, "/networks/"+name+"/disconnect", map[string]any{"Container": c.ID, "Force": true}); err != nil {
			return err
		}
	}
	joined := len(wanted) > 0
	for name, address := range wanted {
		endpoint := map[string]any{"IPAMConfig": map[string]string{"IPv4Address": address}}
		if err := a.docker.Post(ctx, "/networks/"+name+"/connect", map[string]any{"Container": c.ID, "EndpointConfig": endpoint}); err != nil {
			return err
		}
	}
	if joined {
		now, err := a.docker.Inspect(ctx, c.ID)
		if err != nil || now == nil {
			return err
		}
		*c = *now
	}
	return nil
}

// guard is of a docker network: where it stands, and one look at it at a time.
type guard struct {
	mu     sync.Mutex
	stands string
}

func (a *agent) guardOf(network string) *guard {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.guards[network] == nil {
		a.guards[network] = &guard{}
	}
	return a.guards[network]
}

// guardNetwork runs the script that guards a network: again where what it guards, or the script, is another one.
func (a *agent) guardNetwork(ctx context.Context, d *dockerSpec) error {
	if d.Guard == "" {
		return nil
	}
	g := a.guardOf(d.Network)
	g.mu.Lock()
	defer g.mu.Unlock()
	guarded, into, err := a.guardedPlace(ctx, d)
	if err != nil {
		return err
	}
	var script syscall.Stat_t
	if err := syscall.Stat(filepath.Join(a.files.Kinds, d.Guard), &script); err != nil {
		return err
	}
	now := fmt.Sprint(guarded, script.Ino, script.Mtim)
	if g.stands == now {
		return nil
	}
	g.stands = ""
	if err := a.onHost(append(into, "sh", filepath.Join(hostSpecs(a.files.Stack), "kinds", d.Guard))...); err != nil {
		return err
	}
	g.stands = now
	return nil
}

// guardedPlace gives what tells the thing that is guarded from the one before it, and the words by which a command runs there.
func (a *agent) guardedPlace(ctx context.Context, d *dockerSpec) (string, []string, error) {
	if d.GuardedBy != "" {
		c, err := a.docker.Inspect(ctx, d.GuardedBy)
		if err == nil && (c == nil || !c.State.Running) {
			err = fmt.Errorf("%s does not run", d.GuardedBy)
		}
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprint(c.State.StartedAt.UnixNano()), nil, nil
	}
	path, namespace, err := a.overlayNamespace(ctx, d.Network)
	if err != nil {
		if d.Holder != "" {
			// It is there once the holder is; the next try, in a second, sees it.
			err = errors.Join(err, a.docker.Post(ctx, "/containers/"+d.Holder+"/start", nil))
		}
		return "", nil, err
	}
	return fmt.Sprint(namespace.Dev, namespace.Ino), []string{"nsenter", "--net=" + path}, nil
}

// overlayNamespace gives the path of an overlay's namespace on the server, and what tells it from the one before.
func (a *agent) overlayNamespace(ctx context.Context, network string) (string, syscall.Stat_t, error) {
	var namespace syscall.Stat_t
	id, err := a.docker.NetworkID(ctx, network)
	if err != nil {
		return "", namespace, err
	}
	if len(id) < 10 {
		return "", namespace, fmt.Errorf("docker has no network %s here", network)
	}
	path := "/run/docker/netns/1-" + id[:10]
	err = syscall.Stat(filepath.Join(a.files.Proc, "1/root", path), &namespace)
	if err == nil && namespace.Size == 0 && namespace.Mode&0o222 != 0 {
		err = syscall.ENOENT // the file that a namespace was mounted on
	}
	if err != nil {
		return "", namespace, fmt.Errorf("its namespace is not there: %w", err)
	}
	return path, namespace, nil
}

// hostSpecs is the folder of specs as the server has it; components/host/objects/agentFolders.ts says the same.
func hostSpecs(stack string) string { return "/var/lib/flipflap/" + stack + "/attach" }

// start starts a container that docker does not start by itself, once what guards its networks stands. One that somebody
// stopped stays so until docker or this agent is started again, as docker's own restart policy has it.
func (a *agent) start(ctx context.Context, s *spec, c *docker.Container) error {
	a.mu.Lock()
	stopped := a.stopped[s.System]
	a.mu.Unlock()
	if !s.StartedByAgent || stopped {
		return errNotOurs
	}
	for _, iface := range s.Interfaces {
		if iface.Docker != nil {
			if err := a.guardNetwork(ctx, iface.Docker); err != nil {
				return err
			}
		}
	}
	return a.docker.Post(ctx, "/containers/"+c.ID+"/start", nil)
}

var errNotOurs = errors.New("it does not run, and is not ours to start")
