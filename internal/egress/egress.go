// Package egress connects to servers whose addresses callers choose, and refuses those in private
// and other special networks that the operator has not allowed.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// ErrRefused is returned for a connection to an address that is neither public nor allowed.
var ErrRefused = errors.New("the address is in a network that the server does not connect to")

// Networks are special networks that may be connected to.
type Networks []netip.Prefix

// Private returns the loopback addresses and the private networks of IPv4 and IPv6. Link-local
// addresses, at which clouds serve the credentials of machines, are not among them.
func Private() Networks {
	return prefixes("127.0.0.0/8 ::1/128 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7")
}

// special are the networks of the special-purpose address registries of IANA that are not globally
// reachable, and those for multicast. Networks that contain IPv4 addresses are among them, so that
// these cannot be written in another form.
var special = prefixes(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
	192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
	224.0.0.0/4 240.0.0.0/4 ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16
	2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8`)

func prefixes(list string) (networks Networks) {
	for _, text := range strings.Fields(list) {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}

// Parse parses a comma-separated list of IP addresses and CIDR blocks.
func Parse(list string) (Networks, error) {
	networks := Networks{}
	var errs []error
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(item)
		if address, addressErr := netip.ParseAddr(item); addressErr == nil {
			prefix, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%q must be an IP address or a CIDR block, such as 10.0.0.0/8", item))
			continue
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, errors.Join(errs...)
}

// Dialer returns a dialer that connects to public addresses and to the allowed networks. It checks
// the address that a name has resolved to immediately before each connection, so that a name cannot
// resolve to another address in between.
func (n Networks) Dialer() *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		resolved, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("parse the resolved address: %w", err)
		}
		if !n.allow(resolved.Addr()) {
			return ErrRefused
		}
		return nil
	}}
}

func (n Networks) allow(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	contains := func(network netip.Prefix) bool { return network.Contains(address) }
	return slices.ContainsFunc(n, contains) || !slices.ContainsFunc(special, contains)
}
