// Package docker speaks the few calls of the engine's API that the agent needs (docker 20.10 and later; without a version in the
// path the daemon takes its own).
package docker

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

// Client speaks to a daemon at a socket.
type Client struct {
	client *http.Client
	events *http.Client // its answer has no end
}

// callTimeout is for a daemon that hangs: what waits for it fails, and is tried again.
const callTimeout = 30 * time.Second

func New(socket string) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return &Client{client: &http.Client{Transport: transport, Timeout: callTimeout}, events: &http.Client{Transport: transport}}
}

// Container is what docker says of one.
type Container struct {
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

// Processes gives how many it may have at once; 0: any number.
func (c *Container) Processes() int64 {
	if c.HostConfig.PidsLimit == nil {
		return 0
	}
	return *c.HostConfig.PidsLimit
}

// LimitProcesses holds for the container's later starts, too.
func (d *Client) LimitProcesses(ctx context.Context, c *Container, most int64) error {
	if most == 0 || c.Processes() == most {
		return nil
	}
	return d.Post(ctx, "/containers/"+c.ID+"/update", map[string]int64{"PidsLimit": most})
}

// Event is of a container.
type Event struct {
	Action string
	Actor  struct{ Attributes map[string]string }
}

func (d *Client) get(ctx context.Context, path string) (*http.Response, error) {
	return call(ctx, d.client, http.MethodGet, path, nil)
}

// Send makes a call whose answer says nothing but that it was done.
func (d *Client) Send(ctx context.Context, method, path string, body any) error {
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

func (d *Client) Post(ctx context.Context, path string, body any) error {
	return d.Send(ctx, http.MethodPost, path, body)
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

// Inspect gives nil where there is no such container.
func (d *Client) Inspect(ctx context.Context, name string) (*Container, error) {
	response, err := d.get(ctx, "/containers/"+url.PathEscape(name)+"/json")
	if err != nil {
		if response != nil && response.StatusCode == http.StatusNotFound {
			return nil, nil
		}
		return nil, err
	}
	defer response.Body.Close()
	c := &Container{}
	return c, json.NewDecoder(response.Body).Decode(c)
}

// Read decodes what a path gives.
func (d *Client) Read(ctx context.Context, path string, into any) error {
	response, err := d.get(ctx, path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// NetworkID gives the id of a network that this server knows; one of a swarm it knows once somebody here is in it.
func (d *Client) NetworkID(ctx context.Context, name string) (string, error) {
	network := struct {
		ID string `json:"Id"`
	}{}
	err := d.Read(ctx, "/networks/"+url.PathEscape(name), &network)
	return network.ID, err
}

// SwarmState gives docker's word for this server's part in a swarm: inactive, pending, active, error, locked.
func (d *Client) SwarmState(ctx context.Context) (string, error) {
	info := struct {
		Swarm struct{ LocalNodeState string }
	}{}
	err := d.Read(ctx, "/info", &info)
	return info.Swarm.LocalNodeState, err
}

// Follow calls on for each event of the containers with a label until the stream ends; started comes first,
// when nothing can be missed any more.
func (d *Client) Follow(ctx context.Context, label string, started func(), on func(Event)) error {
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
		var e Event
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		on(e)
	}
}

// Listed is a line of a list.
type Listed struct {
	ID         string `json:"Id"`
	Labels     map[string]string
	HostConfig struct{ NetworkMode string }
}

// Labelled lists the running containers that have a label.
func (d *Client) Labelled(ctx context.Context, label string) ([]Listed, error) {
	filters, _ := json.Marshal(map[string][]string{"label": {label}})
	var all []Listed
	err := d.Read(ctx, "/containers/json?filters="+url.QueryEscape(string(filters)), &all)
	return all, err
}
