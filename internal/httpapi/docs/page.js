// Shows the document for reading first and trying second: every operation is listed, collapsed, with a URL that can be shared.
// The document's extensions (x-scopes, x-rate-limit …) are shown. The page loads the YAML, which keeps the order of the document;
// the JSON form is in alphabetical order.
const page = document.getElementById('page')
window.ui = SwaggerUIBundle({
  url: page.dataset.document,
  domNode: page,
  deepLinking: true,
  displayOperationId: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  defaultModelRendering: 'example',
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  showCommonExtensions: true,
  showExtensions: true,
  validatorUrl: null,
  // Requests go to the server that served this page, even if a proxy hides its public address.
  requestInterceptor: (request) => {
    const address = new URL(request.url, location.href)
    request.url = location.origin + address.pathname + address.search
    return request
  },
})
