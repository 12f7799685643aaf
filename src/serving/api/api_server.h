#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/http_server.h"
#include "serving/api/adapter_catalog.h"
#include "serving/api/adapter_resolver.h"
#include "serving/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::serving::api {

struct ApiConfig {
  // Where it listens.
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: a free one
  int worker_threads = 2;
  size_t max_body_bytes = 8 * 1024 * 1024;
  net::CorsOptions cors;
  std::string tls_certificate, tls_key;  // PEM files; both empty: plain HTTP
  std::vector<std::string> api_keys;     // one of them is wanted on every route but health checks; empty: none is
  std::chrono::milliseconds idle_timeout{75'000}, header_timeout{15'000}, body_timeout{120'000}, write_timeout{30'000};
  std::chrono::milliseconds sse_heartbeat{15'000};

  // What it serves.
  std::string model_id;
  std::vector<std::string> model_aliases;  // further names of the base model
  std::string model_sha;                   // empty: unknown
  std::string model_dtype = "float32";
  std::string device_type = "cpu";
  std::string version;
  std::string bos_token, eos_token;    // as text, for the chat template
  int64_t vocab_size = 0;              // ids that the model's logits have; 0: as many as the tokenizer has
  std::vector<int32_t> eos_token_ids;  // the engine's: what ends an output in a grammar
  // Each folder in it with an adapter_config.json is listed by /v1/models, and its name is an adapter id.
  // Empty: adapters are known by their path only.
  std::string adapter_directory;
  CatalogSettings catalog;
  AdapterResolver::Settings adapter_sources;

  // What a request may ask for.
  int32_t max_input_length = 0;  // tokens; 0: all but one of the engine's max_total_tokens
  int32_t max_best_of = 2;
  int32_t max_stop_sequences = 4;
  int32_t max_choices = 16;          // OpenAI's n times the number of prompts
  int32_t max_alternatives = 100;    // return_k_alternatives
  int32_t max_inputs = 256;          // of one request for embeddings or classes
  Pooling pooling = Pooling::kMean;  // of embeddings, where the request does not say
};

// The LoRAX and OpenAI routes over an engine.
//
// Threads: those of net::HttpServer. Requests are parsed, tokenised and validated on its workers, then submitted; no
// worker waits for the model. The engine's thread hands tokens over through a queue per request, and workers turn them
// into JSON. A client that goes away has its sequences cancelled; one that reads too slowly is cut (the engine never
// waits for it).
class ApiServer {
 public:
  // The engine, tokenizer and template must outlive the server. `chat_template` may be null: chats are then refused.
  // Errors: as net::HttpServer::start; invalid for limits that cannot work.
  static Result<std::unique_ptr<ApiServer>> start(ApiConfig config, Engine& engine, const text::Tokenizer& tokenizer,
                                                  const text::ChatTemplate* chat_template);
  ~ApiServer();  // stop() without grace

  [[nodiscard]] uint16_t port() const;
  // Drains: /health says 503 and new work is refused with 503 while what runs may finish, for up to `grace`. Then it
  // stops listening and cancels the rest.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds(0));

 private:
  struct Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::serving::api
