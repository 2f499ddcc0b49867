package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// openAIPrefix begins the paths of the OpenAI-compatible API.
const openAIPrefix = "/v1"

// openAIResources are the paths that OpenAI SDKs append to their base URL.
var openAIResources = []string{"/chat/completions", "/completions", "/embeddings", "/models", "/responses"}

// openAIAlias maps the other addresses of chat completions, below /api and /api/v1, to the one of the
// document.
func openAIAlias(path string) string {
	const resource = "/chat/completions"
	if path = strings.TrimSuffix(path, "/"); path == "/api"+resource || path == "/api/v1"+resource {
		return openAIPrefix + resource
	}
	return ""
}

// escapeModel escapes the slashes of a model's name, which some SDKs put into the path as they are.
func escapeModel(path string) string {
	const models = openAIPrefix + "/models/"
	model, isModel := strings.CutPrefix(path, models)
	if !isModel {
		return path
	}
	return models + strings.ReplaceAll(strings.TrimSuffix(model, "/"), "/", "%2F")
}

// isOpenAIPath reports whether a path belongs to the OpenAI-compatible API, or is one that an SDK requests whose base
// URL lacks /v1. Errors there have OpenAI's format.
func isOpenAIPath(path string) bool {
	return path == openAIPrefix || strings.HasPrefix(path, openAIPrefix+"/") || lacksPrefix(path) || openAIAlias(path) != ""
}

func lacksPrefix(path string) bool {
	return slices.ContainsFunc(openAIResources, func(resource string) bool { return path == resource || strings.HasPrefix(path, resource+"/") })
}

// noSuchOpenAIPath returns a message that names the requested path and suggests an existing one.
func (f failures) noSuchOpenAIPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	path = strings.ToValidUTF8(path[:min(len(path), maxLogged)], "")
	hint := "This API has " + strings.Join(f.openAIOperations, ", ") + "."
	if lacksPrefix(r.URL.Path) {
		hint = "The base URL of the SDK must end with /v1."
	}
	return fmt.Sprintf("There is no %s %s. %s", methodOf(r), path, hint)
}

// openAIOperations lists the operations of the OpenAI-compatible API.
func openAIOperations(operations []*operation) []string {
	var all []string
	for _, op := range operations {
		if strings.HasPrefix(op.route.Path, openAIPrefix+"/") {
			all = append(all, op.route.Method+" "+op.route.Path)
		}
	}
	slices.Sort(all)
	return all
}
