package backup

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// libpqSettings are the connection settings that both libpq, which PostgreSQL's programs use,
// and pgx understand. The password is left out: other users of the machine can read a program's
// arguments.
var libpqSettings = []string{
	"host", "port", "dbname", "user", "passfile", "connect_timeout", "options", "application_name", "sslmode", "sslcert", "sslkey",
	"sslrootcert", "sslsni", "krbsrvname", "target_session_attrs", "service",
}

// keyValue matches one setting of a key=value connection string, the value quoted or not.
var keyValue = regexp.MustCompile(`(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)`)

// connectionString returns an address with only the settings that PostgreSQL's programs
// understand, and without the password.
func connectionString(address string) string {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		settings := u.Query()
		for name := range settings {
			if !slices.Contains(libpqSettings, name) {
				settings.Del(name)
			}
		}
		u.RawQuery = strings.ReplaceAll(settings.Encode(), "+", "%20") // libpq URLs do not decode a plus as a space
		return u.String()
	}
	var kept []string
	for _, match := range keyValue.FindAllStringSubmatch(address, -1) {
		if slices.Contains(libpqSettings, match[1]) {
			kept = append(kept, match[1]+"="+match[2])
		}
	}
	return strings.Join(kept, " ")
}
