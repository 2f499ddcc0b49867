// Shows the document as a page to read first, to try second: every operation is listed, none unfolded, each with the address
// that a reader can pass on. The server's own extensions (x-scopes, x-rate-limit …) are shown. YAML keeps the order in which
// the document is written; the JSON form is in alphabetical order.
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
  // Requests go to the server that served this page, also where a proxy hides its public address.
  requestInterceptor: (request) => {
    const address = new URL(request.url, location.href)
    request.url = location.origin + address.pathname + address.search
    return request
  },
})
