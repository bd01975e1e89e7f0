package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// docker speaks the few calls of the engine's API that the agent needs (docker 20.10 and later; without a version in the path the daemon takes its own).
type docker struct {
	client *http.Client
	events *http.Client // its answer has no end
}

// callTimeout is for a daemon that hangs: what waits for it fails, and is tried again.
const callTimeout = 30 * time.Second

func newDocker(socket string) *docker {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return &docker{client: &http.Client{Transport: transport, Timeout: callTimeout}, events: &http.Client{Transport: transport}}
}

type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Running   bool
		Pid       int
		StartedAt time.Time
	}
	Config          struct{ Labels map[string]string }
	HostConfig      struct{ PidsLimit *int64 }
	NetworkSettings struct {
		Networks map[string]struct{ EndpointID, IPAddress string }
	}
}

// processes gives how many it may have at once; 0: any number.
func (c *container) processes() int64 {
	if c.HostConfig.PidsLimit == nil {
		return 0
	}
	return *c.HostConfig.PidsLimit
}

// limitProcesses holds for the container's later starts, too.
func (d *docker) limitProcesses(ctx context.Context, c *container, most int64) error {
	if most == 0 || c.processes() == most {
		return nil
	}
	return d.post(ctx, "/containers/"+c.ID+"/update", map[string]int64{"PidsLimit": most})
}

type event struct {
	Action string
	Actor  struct{ Attributes map[string]string }
}

func (d *docker) get(ctx context.Context, path string) (*http.Response, error) {
	return call(ctx, d.client, http.MethodGet, path, nil)
}

// send makes a call whose answer says nothing but that it was done.
func (d *docker) send(ctx context.Context, method, path string, body any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	response, err := call(ctx, d.client, method, path, data)
	if err == nil {
		response.Body.Close()
	}
	return err
}

func (d *docker) post(ctx context.Context, path string, body any) error {
	return d.send(ctx, http.MethodPost, path, body)
}

func call(ctx context.Context, client *http.Client, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 && response.StatusCode != http.StatusNotModified {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		response.Body.Close()
		return response, fmt.Errorf("docker %s: %s: %s", path, response.Status, body)
	}
	return response, nil
}

// inspect gives nil where there is no such container.
func (d *docker) inspect(ctx context.Context, name string) (*container, error) {
	response, err := d.get(ctx, "/containers/"+url.PathEscape(name)+"/json")
	if err != nil {
		if response != nil && response.StatusCode == http.StatusNotFound {
			return nil, nil
		}
		return nil, err
	}
	defer response.Body.Close()
	c := &container{}
	return c, json.NewDecoder(response.Body).Decode(c)
}

// read decodes what a path gives.
func (d *docker) read(ctx context.Context, path string, into any) error {
	response, err := d.get(ctx, path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// networkID gives the id of a network that this server knows; one of a swarm it knows once somebody here is in it.
func (d *docker) networkID(ctx context.Context, name string) (string, error) {
	network := struct {
		ID string `json:"Id"`
	}{}
	err := d.read(ctx, "/networks/"+url.PathEscape(name), &network)
	return network.ID, err
}

// swarmState gives docker's word for this server's part in a swarm: inactive, pending, active, error, locked.
func (d *docker) swarmState(ctx context.Context) (string, error) {
	info := struct {
		Swarm struct{ LocalNodeState string }
	}{}
	err := d.read(ctx, "/info", &info)
	return info.Swarm.LocalNodeState, err
}

// follow calls on for each event of the containers with a label until the stream ends; started comes first,
// when nothing can be missed any more.
func (d *docker) follow(ctx context.Context, label string, started func(), on func(event)) error {
	filters, _ := json.Marshal(map[string][]string{
		"type":  {"container"},
		"event": {"start", "die", "kill"},
		"label": {label},
	})
	response, err := call(ctx, d.events, http.MethodGet, "/events?filters="+url.QueryEscape(string(filters)), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	started()
	decoder := json.NewDecoder(bufio.NewReader(response.Body))
	for {
		var e event
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		on(e)
	}
}
