package backup

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// understood are the settings that PostgreSQL's programs know of an address, as pgx does.
// The password is none of them: other users of the machine see what programs are called with.
var understood = []string{
	"host", "port", "dbname", "user", "passfile", "connect_timeout", "options", "application_name", "sslmode", "sslcert", "sslkey",
	"sslrootcert", "sslsni", "krbsrvname", "target_session_attrs", "service",
}

// pair is a setting among others, its value as it is written.
var pair = regexp.MustCompile(`(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)`)

// nameOf is a database's address as PostgreSQL's programs take it.
func nameOf(address string) string {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		settings := u.Query()
		for name := range settings {
			if !slices.Contains(understood, name) {
				settings.Del(name)
			}
		}
		u.RawQuery = strings.ReplaceAll(settings.Encode(), "+", "%20") // in such a URL a plus is no space
		return u.String()
	}
	var kept []string
	for _, found := range pair.FindAllStringSubmatch(address, -1) {
		if slices.Contains(understood, found[1]) {
			kept = append(kept, found[1]+"="+found[2])
		}
	}
	return strings.Join(kept, " ")
}
