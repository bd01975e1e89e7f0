package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/trace"
)

// trace prints what packets do on this server, until its input ends: whoever asked is gone then. The plan is the input's first line.
func (a *agent) trace(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var plan contract.TracePlan
	if err := json.Unmarshal(first, &plan); err != nil {
		return err
	}
	if plan.Contract != contract.Version {
		return fmt.Errorf("the agent on this server is of another version of flipflap (contract %s, asked for %s): flipflap up brings its own", contract.Version, plan.Contract)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, lines) // whatever it ends with
		cancel()
	}()
	var targets []netip.Addr
	for _, text := range plan.Probe.Targets {
		target, err := netip.ParseAddr(text)
		if err != nil || !target.Is4() {
			return fmt.Errorf("%q is no IPv4 address to be pinged", text)
		}
		targets = append(targets, target)
	}
	return trace.Run(ctx, trace.Options{
		Programs: a.files.Programs, Proc: a.files.Proc, Filter: plan.Filter, Exclude: plan.Exclude, Also: plan.Also, SampleOf: uint(plan.SampleOf), DevicesAlone: plan.Points == "devices", Redirects: plan.Redirects,
		For: time.Duration(plan.Seconds) * time.Second, Containers: a.containerNamespaces, Overlays: a.overlayName,
		ProbeTargets: targets, ProbeIdentifier: uint16(plan.Probe.Identifier),
	}, out)
}

// containerNamespaces gives the files of the network namespaces of the stack's containers, by their systems; those in the server's
// own are not among them.
func (a *agent) containerNamespaces(ctx context.Context) (map[string]string, error) {
	filters := url.QueryEscape(`{"label":["flipflap.stack=` + a.files.Stack + `"]}`)
	var all []struct {
		ID         string            `json:"Id"`
		Labels     map[string]string `json:"Labels"`
		Names      []string          `json:"Names"`
		HostConfig struct{ NetworkMode string }
	}
	if err := a.docker.Read(ctx, "/containers/json?filters="+filters, &all); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, one := range all {
		if one.HostConfig.NetworkMode == "host" || strings.HasPrefix(one.HostConfig.NetworkMode, "container:") {
			continue
		}
		pid, err := a.pidOf(ctx, one.ID)
		if err != nil {
			return nil, err
		}
		if pid == 0 {
			continue
		}
		name := one.Labels["flipflap.system"]
		if name == "" && len(one.Names) > 0 {
			name = strings.TrimPrefix(one.Names[0], "/")
		}
		found[filepath.Join(a.files.Proc, fmt.Sprint(pid), "ns/net")] = name
	}
	return found, nil
}

// pidOf gives 0 where a container does not run any more. What was asked once is not asked again while its process is there.
func (a *agent) pidOf(ctx context.Context, id string) (int, error) {
	if pid, known := a.tracedPids[id]; known {
		if _, err := os.Stat(filepath.Join(a.files.Proc, fmt.Sprint(pid))); err == nil {
			return pid, nil
		}
	}
	c, err := a.docker.Inspect(ctx, id)
	if err != nil || c == nil || !c.State.Running {
		return 0, err
	}
	if a.tracedPids == nil {
		a.tracedPids = map[string]int{}
	}
	a.tracedPids[id] = c.State.Pid
	return c.State.Pid, nil
}

// overlayName gives the docker network of a file 1-IDENTIFIER; the file's own name where docker does not know it.
func (a *agent) overlayName(ctx context.Context, file string) string {
	var network struct{ Name string }
	if err := a.docker.Read(ctx, "/networks/"+strings.TrimPrefix(file, "1-"), &network); err != nil || network.Name == "" {
		return file
	}
	return network.Name
}
