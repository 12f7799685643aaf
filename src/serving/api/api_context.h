#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grammar/compiler.h"
#include "net/worker_pool.h"
#include "serving/api/adapter_catalog.h"
#include "serving/api/adapter_resolver.h"
#include "serving/api/api_metrics.h"
#include "serving/api/api_server.h"
#include "serving/api/tool_dialect.h"
#include "serving/engine.h"

namespace graft::serving::api {

// What every route needs. Shared by the routes and the requests in flight.
struct ApiContext {
  ApiConfig config;  // with max_input_length resolved
  Engine* engine = nullptr;
  const text::Tokenizer* tokenizer = nullptr;
  const text::ChatTemplate* chat_template = nullptr;  // may be null
  std::shared_ptr<net::WorkerPool> workers;
  AdapterCatalog adapters;
  std::unique_ptr<AdapterResolver> resolver;
  ApiMetrics metrics;
  std::unique_ptr<grammar::Compiler> grammars;
  ToolDialect tools;
  int64_t started_at = 0;  // Unix seconds
  std::atomic<bool> draining{false};

  ApiContext(std::vector<std::string> base_names, std::string adapter_directory, CatalogSettings catalog)
      : adapters(std::move(base_names), std::move(adapter_directory), std::move(catalog)) {}
};

using ContextPtr = std::shared_ptr<ApiContext>;

}  // namespace graft::serving::api
