#pragma once

#include "net/router.h"
#include "serving/api/api_context.h"

namespace graft::serving::api {

// Each adds one family of routes, implemented in the file of the same name.
void add_lorax_generate_routes(net::Router& router, const ContextPtr& context);  // /, /generate*, /invocations
void add_lorax_info_routes(net::Router& router, const ContextPtr& context);      // /health ... /info, /tokenize
void add_lorax_pooled_routes(net::Router& router, const ContextPtr& context);    // /embed, /classify, /classify_batch
void add_openai_embeddings_routes(net::Router& router, const ContextPtr& context);
void add_openai_completions_routes(net::Router& router, const ContextPtr& context);
void add_openai_chat_routes(net::Router& router, const ContextPtr& context);
void add_openapi_routes(net::Router& router, const ContextPtr& context);  // of all routes added before, and its own
void add_openai_models_routes(net::Router& router, const ContextPtr& context);

}  // namespace graft::serving::api
