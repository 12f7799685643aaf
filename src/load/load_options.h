#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace graft::load {

// kOpenAi: /v1/completions. kOpenAiChat: /v1/chat/completions. kLorax: /generate and /generate_stream.
enum class Api { kOpenAi, kOpenAiChat, kLorax };

struct Prompt {
  std::string text;
  nlohmann::json messages;  // a conversation instead of the text, for kOpenAiChat; null: the text
  int64_t max_tokens = 0;   // 0: LoadOptions::max_tokens
};

// What is asked of an endpoint. Closed loop (rate 0): `concurrency` clients, each sends its next request when the last
// one was answered, so a slow server is asked less. Open loop (rate > 0): requests arrive as a Poisson process however
// slow the server is, and time counts from the moment a request was due, so that queueing shows.
struct LoadOptions {
  std::string url;  // of the server, without a route
  Api api = Api::kOpenAi;
  std::vector<std::string> models;  // models or adapters, one request each in turn; empty: the server's base model
  std::string api_key;
  int64_t requests = 100;
  int64_t concurrency = 1;      // most requests in flight; 0: no bound (open loop only)
  double rate = 0;              // arrivals a second; 0: closed loop
  int64_t warmup = 4;           // requests before the measured ones
  int64_t prompt_tokens = 128;  // about so many: common words, of which a tokenizer makes one token each
  int64_t max_tokens = 64;
  std::vector<Prompt> prompts;  // asked in turn instead of made-up ones
  bool stream = true;
  bool ignore_eos = true;  // ask for exactly max_tokens
  uint64_t seed = 1;
  std::chrono::milliseconds timeout{600'000};  // of one request
};

// One request, as the client saw it. Times are seconds since the run began.
struct RequestRecord {
  std::string model;
  double due = 0;  // when it should have been sent
  double sent = 0;
  double first = std::numeric_limits<double>::quiet_NaN();  // its first token; NaN: not streamed, or none came
  double end = 0;
  std::vector<double> gaps;  // between one token's arrival and the next one's
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  std::string error;  // its kind; empty: answered
};

struct LoadRun {
  std::vector<RequestRecord> requests;             // in the order of `due`
  std::map<std::string, std::string> error_texts;  // kind -> the first one's message
  int64_t most_in_flight = 0;
  double seconds = 0;  // from the first request's due time to the last one's end
};

}  // namespace graft::load
