package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"parley/internal/egress"
)

// listen accepts connections on a loopback address and returns its port.
func listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Special addresses are refused before a packet is sent, in every form in which they can be written
// or named.
func TestSpecialAddressesAreRefused(t *testing.T) {
	t.Parallel()
	port := listen(t)
	for _, host := range []string{
		"127.0.0.1", "localhost", "127.255.255.254", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
		"64:ff9b:1::7f00:1", "2002:7f00:1::", "10.1.2.3", "172.31.255.255", "192.168.0.1", "100.64.0.1", "169.254.169.254",
		"fd00:ec2::254", "fe80::1%lo", "fec0::1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1", "ff02::1",
	} {
		conn, err := egress.Networks{}.Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// An allowed network can be connected to, and allows no other one.
func TestAllowedNetworksAreConnected(t *testing.T) {
	t.Parallel()
	port := listen(t)
	for list, isAllowed := range map[string]bool{"127.0.0.1": true, "127.0.0.0/8": true, "::ffff:127.0.0.1": true, "10.0.0.0/8, 127.0.0.1": true, "127.0.0.2": false, "::1": false, "": false} {
		networks, err := egress.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := networks.Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != isAllowed || !isAllowed && !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// The private networks exclude link-local addresses.
func TestPrivateNetworksExcludeLinkLocalAddresses(t *testing.T) {
	t.Parallel()
	for address, isPrivate := range map[string]bool{"127.0.0.1": true, "192.168.1.1": true, "fd00::1": true, "169.254.169.254": false, "fe80::1": false} {
		isContained := false
		for _, network := range egress.Private() {
			isContained = isContained || network.Contains(netip.MustParseAddr(address))
		}
		if isContained != isPrivate {
			t.Errorf("%s is private: %t", address, isContained)
		}
	}
}
