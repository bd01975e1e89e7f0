// evpn-inject puts many type-2 routes into a route server, or takes them back: what a large fabric would tell it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const batch = 256

type options struct {
	target, nextHop, rd, rt string
	vni, count              uint
	withdraw                bool
}

func packed(m proto.Message) *anypb.Any {
	any, err := anypb.New(m)
	if err != nil {
		log.Fatal(err)
	}
	return any
}

func pair(text, form string, a, b any) {
	if _, err := fmt.Sscanf(text, form, a, b); err != nil {
		log.Fatalf("%q: %v", text, err)
	}
}

// path is the route of station i: MACs of 02:ee, addresses of 100.64.0.0/10 (RFC 6598), which no testbed's systems have.
func path(o options, i uint) *api.Path {
	var index, asn, target uint32
	admin := o.nextHop
	if _, err := fmt.Sscanf(o.rd, admin+":%d", &index); err != nil {
		log.Fatalf("%q: %v", o.rd, err)
	}
	pair(o.rt, "%d:%d", &asn, &target)
	mac := net.HardwareAddr{0x02, 0xee, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
	ip := net.IPv4(100, 64|byte(i>>16)&0x3f, byte(i>>8), byte(i))
	nlri := packed(&api.EVPNMACIPAdvertisementRoute{
		Rd:         packed(&api.RouteDistinguisherIPAddress{Admin: admin, Assigned: index}),
		Esi:        &api.EthernetSegmentIdentifier{Value: make([]byte, 9)},
		MacAddress: mac.String(),
		IpAddress:  ip.String(),
		Labels:     []uint32{uint32(o.vni)},
	})
	family := &api.Family{Afi: api.Family_AFI_L2VPN, Safi: api.Family_SAFI_EVPN}
	return &api.Path{
		Family:     family,
		Nlri:       nlri,
		IsWithdraw: o.withdraw,
		Pattrs: []*anypb.Any{
			packed(&api.OriginAttribute{Origin: 0}),
			packed(&api.MpReachNLRIAttribute{Family: family, NextHops: []string{o.nextHop}, Nlris: []*anypb.Any{nlri}}),
			packed(&api.LocalPrefAttribute{LocalPref: 100}),
			packed(&api.ExtendedCommunitiesAttribute{Communities: []*anypb.Any{
				packed(&api.TwoOctetAsSpecificExtended{IsTransitive: true, SubType: 2, Asn: asn, LocalAdmin: target}),
				packed(&api.EncapExtended{TunnelType: 8}),
			}}),
		},
	}
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "unix:///run/gobgp.sock", "the route server's API")
	flag.StringVar(&o.nextHop, "next-hop", "", "the tunnel end that all are behind")
	flag.StringVar(&o.rd, "rd", "", "route distinguisher, ADDRESS:INDEX of the next hop")
	flag.StringVar(&o.rt, "rt", "", "route target, AS:VNID")
	flag.UintVar(&o.vni, "vni", 0, "VNID")
	flag.UintVar(&o.count, "count", 1000, "how many routes")
	flag.BoolVar(&o.withdraw, "withdraw", false, "take them back")
	flag.Parse()
	connection, err := grpc.Dial(o.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	stream, err := api.NewGobgpApiClient(connection).AddPathStream(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for first := uint(0); first < o.count; first += batch {
		request := &api.AddPathStreamRequest{TableType: api.TableType_GLOBAL}
		for i := first; i < o.count && i < first+batch; i++ {
			request.Paths = append(request.Paths, path(o, i))
		}
		if err := stream.Send(request); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		log.Fatal(err)
	}
}
