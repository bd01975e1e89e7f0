package main

import (
	"bufio"
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
type docker struct{ client *http.Client }

func newDocker(socket string) *docker {
	return &docker{client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

type container struct {
	Name  string
	State struct {
		Running   bool
		Pid       int
		StartedAt time.Time
	}
	Config struct{ Labels map[string]string }
}

type event struct {
	Action string
	Actor  struct{ Attributes map[string]string }
}

func (d *docker) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
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

// follow calls on for each event of the containers with a label until the stream ends; started comes first,
// when nothing can be missed any more.
func (d *docker) follow(ctx context.Context, label string, started func(), on func(event)) error {
	filters, _ := json.Marshal(map[string][]string{
		"type":  {"container"},
		"event": {"start", "die"},
		"label": {label},
	})
	response, err := d.get(ctx, "/events?filters="+url.QueryEscape(string(filters)))
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
