// Package origin parses and matches the origins that browsers and web views send with the requests
// of their pages.
package origin

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const (
	// Any stands for all origins.
	Any = "*"
	// Opaque is the origin of pages without an address of their own, such as sandboxed frames and
	// files in most browsers.
	Opaque = "null"
)

// The errors of Parse. They continue a sentence that begins with the entry.
var (
	errNoOrigin  = errors.New("must be an origin: a scheme and a host, such as https://www.example.com")
	errPath      = errors.New("must not have a path, a query or a fragment: browsers send only the scheme, the host and the port")
	errUser      = errors.New("must not have a user name")
	errScheme    = errors.New("has a scheme that pages do not have; the origin of a page begins with its own scheme, such as https")
	errOpaque    = errors.New("has a scheme whose pages send the origin null: allow null instead")
	errSocket    = errors.New("must be the origin of the page, which begins with https or http, not the address of the socket")
	errHost      = errors.New("must have a valid host")
	errAddress   = errors.New("must have an IP address in its usual form, such as 127.0.0.1, or a host name")
	errPort      = errors.New("must have a port from 1 to 65535, *, or none")
	errWildcards = errors.New("may have * only as the first label of the host, such as https://*.example.com, as the whole host, or as the port")
)

// refusedSchemes are schemes that no page sends as its origin.
var refusedSchemes = map[string]error{
	"ws": errSocket, "wss": errSocket, "ftp": errScheme, "mailto": errScheme, "javascript": errOpaque,
	"data": errOpaque, "blob": errOpaque, "about": errOpaque,
}

var (
	validScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	// validHost is a host name after its conversion to ASCII. Browsers accept more than DNS does.
	validHost = regexp.MustCompile(`^[a-z0-9_.-]*[a-z0-9_-]\.?$`)
	numeric   = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)
)

// toASCII converts host names as browsers do.
var toASCII = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.CheckHyphens(false))

// Parse returns an entry of a list of origins in the form that browsers send: in lower case, with an
// internationalized host in Punycode, without the default port. A * may stand for the first labels of
// the host, the whole host, or the port. An entry that cannot match any page is an error.
func Parse(entry string) (string, error) {
	entry = strings.TrimSpace(entry)
	if entry == Any || strings.EqualFold(entry, Opaque) {
		return strings.ToLower(entry), nil
	}
	scheme, rest, _ := strings.Cut(entry, ":")
	scheme = strings.ToLower(scheme)
	if err := refusedSchemes[scheme]; err != nil {
		return "", err
	}
	isWeb := scheme == "http" || scheme == "https"
	rest, hasAuthority := strings.CutPrefix(rest, "//")
	rest = strings.TrimSuffix(rest, "/")
	switch {
	case !hasAuthority || !validScheme.MatchString(scheme):
		return "", errNoOrigin
	case strings.ContainsAny(rest, "/?#\\"):
		return "", errPath
	case strings.Contains(rest, "@"):
		return "", errUser
	case rest == "" && isWeb:
		return "", errNoOrigin
	case rest == "": // file://, and apps that serve their pages under a scheme without a host
		return scheme + "://", nil
	}
	host, port, hasPort := splitPort(rest)
	host, err := parseHost(host)
	if err != nil {
		return "", err
	}
	if !hasPort {
		return scheme + "://" + host, nil
	}
	if port != "*" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return "", errPort
		}
		port = strconv.FormatUint(number, 10)
	}
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// ParseExact is Parse for one origin: it refuses wildcards.
func ParseExact(entry string) (string, error) {
	parsed, err := Parse(entry)
	if err == nil && strings.Contains(parsed, "*") {
		return "", errors.New("must be one origin, without *")
	}
	return parsed, err
}

// splitPort splits an authority at the colon before its port.
func splitPort(authority string) (host, port string, hasPort bool) {
	at := strings.LastIndexByte(authority, ':')
	if at < strings.LastIndexByte(authority, ']') || at < 0 {
		return authority, "", false
	}
	return authority[:at], authority[at+1:], true
}

func parseHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !address.Is6() || address.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return "", errHost
		}
		return "[" + address.String() + "]", nil
	}
	if host == "*" {
		return host, nil
	}
	name, isWildcard := strings.CutPrefix(host, "*.")
	if strings.Contains(name, "*") {
		return "", errWildcards
	}
	ascii, err := toASCII.ToASCII(name)
	if err != nil || !validHost.MatchString(ascii) || strings.Contains(ascii, "..") || strings.HasPrefix(ascii, ".") {
		return "", errHost
	}
	labels := strings.Split(strings.TrimSuffix(ascii, "."), ".")
	if numeric.MatchString(labels[len(labels)-1]) {
		if address, err := netip.ParseAddr(ascii); err != nil || address.String() != ascii || isWildcard {
			return "", errAddress
		}
	}
	if isWildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// IsAllowed reports whether one of the entries, which Parse has returned, stands for an origin that a
// page has sent.
func IsAllowed(entries []string, sent string) bool {
	sent = strings.ToLower(sent)
	return sent != "" && slices.ContainsFunc(entries, func(entry string) bool {
		return entry == Any || entry == sent || strings.Contains(entry, "*") && matches(entry, sent)
	})
}

// matches reports whether an entry with wildcards stands for an origin.
func matches(entry, sent string) bool {
	scheme, authority, _ := strings.Cut(entry, "://")
	rest, ok := strings.CutPrefix(sent, scheme+"://")
	if !ok || rest == "" {
		return false
	}
	wantedHost, wantedPort, _ := splitPort(authority)
	host, port, _ := splitPort(rest)
	if wantedPort != "*" && wantedPort != port {
		return false
	}
	if suffix, ok := strings.CutPrefix(wantedHost, "*"); ok {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	return wantedHost == host
}
