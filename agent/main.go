// The agent of a server: attaches containers to networks that docker's own model cannot hold, and does
// so again whenever a container starts. It needs nothing of the server but the kernel and dockerd.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
	"flipflap.local/agent/parts/cilium"
	"flipflap.local/agent/parts/dhcp"
	"flipflap.local/agent/parts/evpn"
	"flipflap.local/agent/parts/firewall"
	portGuard "flipflap.local/agent/parts/guard"
	"flipflap.local/agent/parts/ila"
	"flipflap.local/agent/parts/neighbour"
	"flipflap.local/agent/parts/swarm"
)

func usage() {
	fmt.Fprint(os.Stderr, `agent run    follow docker and the specs, keep every container attached
agent once   attach what is there and end (exit 1 where one failed)
agent static attach what -pids and -registry name, without docker and etcd
agent ila    print what this server's ILA holds, as JSON; changes nothing
agent load   what benches do to the registry: -network NAME with -fill N, -register N or -watch SECONDS
agent hold   do nothing until it is ended: a container that keeps a network of docker's in use
agent guard  print what this server's guard has dropped at ports, by reason, as JSON; changes nothing
agent firewall print what this server's firewalls hold and have counted, as JSON; changes nothing
agent rules  read a file of rules and judge packets by it: the question is its input, the answer JSON
agent probe  send packets between systems and tell which arrive; the plan is the input's first line
agent trace  print what packets do on this server, a JSON object a line, until its input ends; the plan is its first line
agent look   print what is there of every system, a JSON object a line; changes nothing
options: -stack NAME -device-group NUMBER -specs DIR -status DIR -proc DIR -bpf DIR -bpffs DIR -docker SOCKET
         -pids NAME=PID,... -registry FILE
`)
	os.Exit(2)
}

func main() {
	log.SetFlags(log.LUTC | log.Ldate | log.Lmicroseconds)
	if len(os.Args) < 2 {
		usage()
	}
	if os.Args[1] == "hold" {
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		<-end
		return
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	a := newAgent()
	flags.StringVar(&a.files.Stack, "stack", "", "the stack whose containers are ours")
	flags.UintVar(&a.deviceGroup, "device-group", 0, "the group of our devices on the server, by which its guard knows them")
	flags.StringVar(&a.specsDir, "specs", "/specs", "attach specs, one file a system")
	flags.StringVar(&a.files.Status, "status", "/status", "what was attached, one file a system")
	flags.StringVar(&a.files.Proc, "proc", "/host/proc", "the server's /proc, writable")
	flags.StringVar(&a.files.Programs, "bpf", "/bpf", "the folder of eBPF objects")
	flags.StringVar(&a.files.Bpffs, "bpffs", "/sys/fs/bpf", "where programs and maps outlive this process")
	pids := flags.String("pids", "", "static: processes in the place of containers")
	load := ila.Load{Interval: 50 * time.Millisecond}
	flags.StringVar(&load.Network, "network", "", "load: the network that systems are registered in")
	fill := flags.Int("fill", 0, "load: register so many systems, and hold them until the input ends")
	flags.IntVar(&load.Count, "register", 0, "load: register a system so many times, and print when")
	flags.IntVar(&load.Seconds, "watch", 0, "load: print when that system came into this server's map, for so many seconds")
	registry := flags.String("registry", "", "static: a file of addresses and their servers, in the place of etcd")
	isShort := flags.Bool("short", false, "firewall: without the rules")
	socket := flags.String("docker", "/var/run/docker.sock", "docker's socket")
	if err := flags.Parse(os.Args[2:]); err != nil || a.files.Stack == "" && os.Args[1] != "rules" {
		usage()
	}
	a.files.Kinds = filepath.Join(a.specsDir, "kinds")
	a.docker = docker.New(*socket)
	var open ila.Opener // of its registry
	if os.Args[1] == "static" {
		a.pids, open = map[string]int{}, ila.OpenStatic(*registry)
	}
	a.parts = []part.Part{portGuard.New(a), firewall.New(a), evpn.New(a), ila.New(a, open), neighbour.New(), dhcp.New(a), swarm.New(a), cilium.New(a)}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	switch os.Args[1] {
	case "run":
		if err := a.run(ctx); err != nil && ctx.Err() == nil {
			log.Fatal(err)
		}
	case "once":
		failed := false
		<-a.reconcileAll(ctx)
		for _, status := range a.allTried() {
			line, _ := json.Marshal(status)
			fmt.Println(string(line))
			failed = failed || status.Error != ""
		}
		if failed {
			os.Exit(1)
		}
	case "static":
		if err := a.static(ctx, *pids); err != nil {
			log.Fatal(err)
		}
	case "load":
		o := ila.OptionsOf(a.files, nil)
		load.Config, load.Bundle, load.Pins = o.Config, ila.Bundle, o.Pins
		work := ila.Load.Watch
		if *fill > 0 {
			load.Count, work = *fill, ila.Load.Fill
		} else if load.Count > 0 {
			work = ila.Load.Register
		}
		if err := work(load, ctx, os.Stdout); err != nil {
			log.Fatal(err)
		}
	case "ila":
		o := ila.OptionsOf(a.files, nil)
		facts, err := ila.ReadFacts(o)
		if err != nil {
			log.Fatal(err)
		}
		line, _ := json.Marshal(facts)
		fmt.Println(string(line))
	case "guard":
		counted, err := portGuard.Counted(a.files)
		if err != nil {
			log.Fatal(err)
		}
		line, _ := json.Marshal(counted)
		fmt.Println(string(line))
	case "rules":
		var question contract.FirewallQuestion
		if err := json.NewDecoder(os.Stdin).Decode(&question); err != nil {
			log.Fatal(err)
		}
		reading, err := firewall.Reading(question)
		if err != nil {
			log.Fatal(err)
		}
		line, _ := json.Marshal(reading)
		fmt.Println(string(line))
	case "firewall":
		facts, err := firewall.ReadFacts(a.files, *isShort)
		if err != nil {
			log.Fatal(err)
		}
		line, _ := json.Marshal(facts)
		fmt.Println(string(line))
	case "trace":
		if err := a.trace(ctx, os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
	case "probe":
		if err := a.probe(ctx, os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
	case "look":
		// It ends at once, and a fifth of its time went into collecting what it had read.
		debug.SetGCPercent(400)
		all, err := a.look(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, one := range all {
			line, _ := json.Marshal(one)
			fmt.Println(string(line))
		}
	default:
		usage()
	}
}

// static attaches once: what it leaves in the kernel goes on without it.
func (a *agent) static(ctx context.Context, pids string) error {
	for _, pair := range strings.Split(pids, ",") {
		name, text, _ := strings.Cut(pair, "=")
		pid, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-pids %q: NAME=PID,... is wanted", pids)
		}
		a.pids[name] = pid
	}
	for _, p := range a.parts {
		if err := p.Converge(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
	}
	// A list of the kernel's may be cut short by what another system's attach changes meanwhile: it is tried again.
	for tries := 1; ; tries++ {
		<-a.reconcileAll(ctx)
		err := a.firstFailure()
		if err == nil || tries == patientTries {
			return err
		}
	}
}

func (a *agent) firstFailure() error {
	for _, status := range a.allTried() {
		if status.Error != "" {
			return fmt.Errorf("%s: %s", status.System, status.Error)
		}
	}
	return nil
}
