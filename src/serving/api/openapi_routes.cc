// GET /openapi.json, /api-doc/openapi.json and /docs.

#include <memory>
#include <utility>

#include "serving/api/openapi.h"
#include "serving/api/routes.h"

namespace graft::serving::api {

std::string docs_page() {
  return R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>graft: HTTP interface</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
h2 { margin-top: 2rem } details { border: 1px solid #d5dae3; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem }
summary { cursor: pointer } code, pre { font: 13px/1.4 ui-monospace, monospace } pre { overflow: auto }
.method { display: inline-block; min-width: 3.5rem; font-weight: 600 } .note { color: #5c6675 }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #e6e9ef; padding: .25rem .5rem .25rem 0;
vertical-align: top }
</style></head><body><h1>graft</h1><p id="about" class="note">Reading openapi.json.</p><div id="routes"></div>
<script>
const make = (name, text, parent, style) => {
  const node = document.createElement(name);
  node.textContent = text;
  if (style) node.className = style;
  parent.append(node);
  return node;
};
const resolve = (api, schema) => schema.$ref ? api.components.schemas[schema.$ref.split('/').pop()] : schema;
const kind = (s) => s.$ref ? s.$ref.split('/').pop() : s.enum ? s.enum.join(' | ') : s.anyOf ? s.anyOf.map(kind).join(' | ')
  : Array.isArray(s.type) ? s.type.filter((t) => t !== 'null').join(' | ') : s.type || 'any';
const range = (s) => [['minimum', '>='], ['exclusiveMinimum', '>'], ['maximum', '<=']]
  .filter(([key]) => key in s).map(([key, sign]) => sign + ' ' + s[key]).join(', ');
const fields = (api, schema, parent) => {
  const table = make('table', '', parent);
  for (const [name, property] of Object.entries(resolve(api, schema).properties || {})) {
    const row = make('tr', '', table);
    make('code', name, make('td', '', row));
    make('td', kind(property) + ' ' + range(property), row);
    make('td', property.description || '', row, 'note');
    if (property.$ref) fields(api, property, make('td', '', make('tr', '', table)));
  }
};
fetch('openapi.json').then((r) => r.json()).then((api) => {
  document.getElementById('about').textContent = api.info.description + ' Version ' + api.info.version + '.';
  const groups = {};
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) (groups[route.tags[0]] ||= []).push([method, path, route]);
  }
  for (const [tag, routes] of Object.entries(groups)) {
    make('h2', tag, document.getElementById('routes'));
    for (const [method, path, route] of routes) {
      const box = make('details', '', document.getElementById('routes'));
      const head = make('summary', '', box);
      make('span', method.toUpperCase(), head, 'method');
      make('code', path + ' ', head);
      make('span', route.summary, head, 'note');
      if (route.requestBody) fields(api, route.requestBody.content['application/json'].schema, box);
      for (const [status, answer] of Object.entries(route.responses)) make('div', status + ': ' + answer.description, box);
    }
  }
}).catch((error) => { document.getElementById('about').textContent = 'openapi.json could not be read: ' + error; });
</script></body></html>
)";
}

void add_openapi_routes(net::Router& router, const ContextPtr& context) {
  const auto text = std::make_shared<std::string>();
  const auto document = [text](const net::Request&, const net::ResponseWriter& writer) {
    writer.send(net::Response::json(200, *text));
  };
  router.add("GET", "/openapi.json", document);
  router.add("GET", "/api-doc/openapi.json", document);
  router.add("GET", "/docs", [](const net::Request&, const net::ResponseWriter& writer) {
    net::Response response{200, {{"Content-Type", "text/html; charset=utf-8"}}, docs_page()};
    response.headers.add(
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'");
    writer.send(std::move(response));
  });
  *text = to_text(openapi_document(router.routes(), context->config.version));
}

}  // namespace graft::serving::api
