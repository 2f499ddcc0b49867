// Package clientaddr determines who sent a request that came through reverse proxies. It trusts Forwarded (RFC 7239)
// and the X-Forwarded-* headers only if they come from proxies that the operator trusts.
package clientaddr

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Proxies are the addresses of the trusted proxies.
type Proxies []netip.Prefix

// Parse reads a comma-separated list of IP addresses and CIDR blocks.
func Parse(list string) (Proxies, error) {
	var proxies Proxies
	var errs []error
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		prefix, err := parsePrefix(item)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q must be an IP address or a CIDR block, such as 10.0.0.0/8", item))
			continue
		}
		proxies = append(proxies, prefix)
	}
	return proxies, errors.Join(errs...)
}

func parsePrefix(item string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(item); err == nil {
		return prefix.Masked(), nil
	}
	address, err := netip.ParseAddr(item)
	if err != nil {
		return netip.Prefix{}, err
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), nil
}

func (p Proxies) contains(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// forwarding are the headers by which proxies describe the client. Handler removes them, except for
// the X-Forwarded-Proto that it has checked.
var forwarding = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Url-Scheme", "X-Real-Ip",
}

// Handler passes requests on as the client sent them to the outermost trusted proxy: RemoteAddr is
// the client's address, Host the host that it asked for, and X-Forwarded-Proto its scheme. The client
// is the right-most address in Forwarded or, without it, in X-Forwarded-For that is not a trusted
// proxy. An entry that is not an address stands for its sender, the proxy to its right. Requests
// from elsewhere lose these headers.
func (p Proxies) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.ContainsFunc(forwarding, func(name string) bool { return r.Header[name] != nil }) {
			next.ServeHTTP(w, r)
			return
		}
		peer := Address(r.RemoteAddr)
		header := r.Header.Clone()
		for _, name := range forwarding {
			header.Del(name)
		}
		forwarded := r.WithContext(r.Context())
		forwarded.Header = header
		if p.contains(peer) {
			p.apply(forwarded, client(p, peer, hopsOf(r.Header)))
		}
		next.ServeHTTP(w, forwarded)
	})
}

// apply sets the address, the scheme and the host of the client on a request.
func (p Proxies) apply(r *http.Request, client hop) {
	if client.address.IsValid() {
		r.RemoteAddr = net.JoinHostPort(client.address.String(), "0")
	}
	if scheme := strings.ToLower(client.scheme); scheme == "http" || scheme == "https" {
		r.Header.Set("X-Forwarded-Proto", scheme)
	}
	if hostPattern.MatchString(client.host) {
		r.Host = client.host
	}
}

// Scheme returns the scheme of a request that Handler has passed on.
func Scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return cmp.Or(r.Header.Get("X-Forwarded-Proto"), "http")
}

// hop is what a proxy reports about the request that it received: the sender, the scheme and the host. A zero address
// is unknown or hidden.
type hop struct {
	address      netip.Addr
	scheme, host string
}

// client returns the hop of the outermost trusted proxy, with the best known address.
func client(trusted Proxies, peer netip.Addr, hops []hop) hop {
	found := hop{address: peer}
	for _, reported := range slices.Backward(hops) {
		if !reported.address.IsValid() {
			reported.address = found.address
			return reported
		}
		found = reported
		if !trusted.contains(reported.address) {
			break
		}
	}
	return found
}

// hopsOf returns the hops of a request. The nearest proxy is last.
func hopsOf(header http.Header) []hop {
	if lines := header["Forwarded"]; lines != nil {
		return forwardedHops(strings.Join(lines, ","))
	}
	addresses := list(header["X-Forwarded-For"])
	schemes, hosts := list(header["X-Forwarded-Proto"]), list(header["X-Forwarded-Host"])
	hops := make([]hop, max(len(addresses), 1))
	for i := range hops {
		if i < len(addresses) {
			hops[i].address = Address(addresses[i])
		}
		hops[i].scheme, hops[i].host = fromEnd(schemes, len(hops)-i), fromEnd(hosts, len(hops)-i)
	}
	return hops
}

// fromEnd returns the n-th last item. Proxies append to a list, so each has its item at its own position from the
// end. If the list is shorter, an inner proxy has replaced it, and the first item applies.
func fromEnd(items []string, n int) string {
	if len(items) == 0 {
		return ""
	}
	return items[max(len(items)-n, 0)]
}

func list(lines []string) []string {
	if lines == nil {
		return nil
	}
	items := strings.Split(strings.Join(lines, ","), ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// forwardedHops reads a Forwarded header (RFC 7239, section 4).
func forwardedHops(value string) []hop {
	var hops []hop
	for _, element := range splitQuoted(value, ',') {
		var found hop
		for _, pair := range splitQuoted(element, ';') {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = unquote(strings.TrimSpace(value))
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "for":
				found.address = Address(value)
			case "proto":
				found.scheme = value
			case "host":
				found.host = value
			}
		}
		hops = append(hops, found)
	}
	return hops
}

// splitQuoted splits a header outside of quoted strings.
func splitQuoted(value string, separator byte) []string {
	var parts []string
	start, isQuoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && isQuoted:
			i++
		case value[i] == '"':
			isQuoted = !isQuoted
		case value[i] == separator && !isQuoted:
			parts = append(parts, value[start:i])
			start = i + 1
		}
	}
	return append(parts, value[start:])
}

func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	return strings.ReplaceAll(value[1:len(value)-1], `\`, "")
}

// hostPattern is a host name or an IP address, with or without a port.
var hostPattern = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// Address returns the address in text such as 192.0.2.1, 192.0.2.1:80, 2001:db8::1 or
// [2001:db8::1]:80, without a zone. It returns the zero Addr for anything else.
func Address(text string) netip.Addr {
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// Key returns the key by which requests from an address are counted: an IPv4 address, or the /64 of an IPv6 address,
// because a single subscriber has at least that many addresses.
func Key(remoteAddr string) string {
	address := Address(remoteAddr)
	switch {
	case !address.IsValid():
		return remoteAddr
	case address.Is4():
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}
