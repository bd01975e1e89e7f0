// Package cilium tells Cilium's agent the labels of containers: its docker plugin does so at the container's start only.
package cilium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sort"
	"strings"

	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
)

// unlabelled stands for no labels; components/kinds/cilium says the same.
const unlabelled = "container:unlabelled"

type labeller struct {
	part.Base
	host part.Host
	api  *docker.Client // Cilium's own, in the same words as docker's
}

func New(host part.Host) part.Part {
	return &labeller{host: host, api: docker.New(filepath.Join(host.Files().Proc, "1/root/run/cilium/cilium.sock"))}
}

func (*labeller) Name() string { return "cilium" }

func (l *labeller) Attached(at part.Attachment, _ json.RawMessage) error {
	if at.Interface.Docker == nil || at.Container == nil {
		return errors.New("the interface is none of docker's")
	}
	ctx, network := context.Background(), at.Interface.Docker.Network
	err := l.label(ctx, at.Container, at.Container.NetworkSettings.Networks[network].EndpointID)
	if err != nil && strings.Contains(err.Error(), "404 Not Found") {
		// Docker has joined it to a Cilium that is no more: the next try, in a second, joins it to this one.
		leave := map[string]any{"Container": at.Container.ID, "Force": true}
		err = errors.Join(err, l.host.Docker().Post(ctx, "/networks/"+network+"/disconnect", leave))
	}
	return err
}

// label: the plugin tells none of a container that is joined while it runs, nor while dockerd starts. Cilium answers when the labels
// are an identity and the identity is in force.
func (l *labeller) label(ctx context.Context, c *docker.Container, endpoint string) error {
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
	if err := l.api.Read(ctx, path, &known); err != nil {
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
	return l.api.Send(ctx, http.MethodPatch, path, map[string]any{
		"container-id": c.ID, "container-name": strings.TrimPrefix(c.Name, "/"), "labels": labels, "state": "waiting-for-identity",
	})
}
