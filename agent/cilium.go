package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sort"
	"strings"
)

// unlabelled stands for no labels; components/kinds/cilium says the same.
const unlabelled = "container:unlabelled"

// labelInCilium tells Cilium's agent the labels of a container: its docker plugin does so at the container's start only, and not
// when one that runs is joined, nor while dockerd starts. Cilium answers when the labels are an identity and the identity is in force.
func (a *agent) labelInCilium(ctx context.Context, c *container, endpoint string) error {
	if a.cilium == nil {
		a.cilium = newDocker(filepath.Join(a.proc, "1/root/run/cilium/cilium.sock"))
	}
	labels := []string{}
	for key, value := range c.Config.Labels {
		if !strings.HasPrefix(key, "flipflap.") {
			labels = append(labels, "container:"+key+"="+value)
		}
	}
	sort.Strings(labels)
	path := "/v1/endpoint/" + url.PathEscape("docker-endpoint:"+endpoint)
	var known struct {
		Status struct {
			State    string
			Identity struct{ Labels []string }
		}
	}
	if err := a.cilium.read(ctx, path, &known); err != nil {
		return err
	}
	now := known.Status.Identity.Labels
	sort.Strings(now)
	if len(labels) == 0 {
		// An identity without labels is a key without a value in etcd, which Cilium (1.18) takes for none.
		labels = []string{unlabelled}
	}
	if fmt.Sprint(now) == fmt.Sprint(labels) && known.Status.State == "ready" {
		return nil
	}
	return a.cilium.send(ctx, http.MethodPatch, path, map[string]any{
		"container-id": c.ID, "container-name": strings.TrimPrefix(c.Name, "/"), "labels": labels, "state": "waiting-for-identity",
	})
}
