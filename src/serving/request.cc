#include "serving/request.h"

#include <charconv>
#include <exception>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "base/digest.h"

namespace graft::serving {
namespace {

// 64 bits of SHA-256: nobody can make a name that shares another tenant's cached prefixes. 0: no tenant.
uint64_t tenant_key(const std::string& tenant) {
  if (tenant.empty()) return 0;
  const std::string digest = sha256_hex(tenant).substr(0, 16);
  uint64_t key = 0;
  std::from_chars(digest.data(), digest.data() + digest.size(), key, 16);
  return key == 0 ? 1 : key;
}

}  // namespace

Request::Request(RequestId request_id, GenerationRequest generation, std::shared_ptr<GenerationSink> receiver,
                 const text::Tokenizer& tokenizer, const std::vector<int32_t>& eos_token_ids)
    : id(request_id),
      params(std::move(generation)),
      sink(std::move(receiver)),
      output(tokenizer, eos_token_ids, params) {
  arrival = request_id;
  if (params.grammar != nullptr) matcher = params.grammar->matcher();
  prompt_size = static_cast<int32_t>(params.prompt.size());
  tokens = std::move(params.prompt);
  tokens.reserve(tokens.size() + static_cast<size_t>(params.max_new_tokens));
  tenant = scope.salt = tenant_key(params.tenant);
  flow = std::hash<std::string>{}(params.adapter.source + params.adapter.id);
  wants_prompt_logprobs = params.prompt_logprobs;
  pooled = params.pooling != Pooling::kNone;
  if (wants_prompt_logprobs) prefill.push_back({tokens.front(), std::numeric_limits<float>::quiet_NaN()});
}

bool Request::send_token(const GeneratedToken& token) noexcept {
  try {
    sink->on_token(token);
    return true;
  } catch (...) {
    return false;
  }
}

void Request::send_error(Error error) noexcept {
  try {
    sink->on_error(std::move(error));
  } catch (...) {
    // There is nobody left to tell.
  }
}

void Request::send_result(GenerationResult result) noexcept {
  try {
    sink->on_finish(std::move(result));
  } catch (...) {
    // There is nobody left to tell.
  }
}

Status validate(const GenerationRequest& request, int64_t vocab_size, int32_t max_total_tokens) {
  if (request.prompt.empty()) return invalid("`inputs` has no tokens");
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= vocab_size) {
      return invalid("`inputs` has token " + std::to_string(id) + ", the model's vocabulary has ids 0 to " +
                     std::to_string(vocab_size - 1));
    }
  }
  const bool pooled = request.pooling != Pooling::kNone;
  if (pooled && (request.max_new_tokens != 0 || request.prompt_logprobs || request.grammar != nullptr)) {
    return invalid("a request for hidden states generates nothing: `max_new_tokens` must be 0, without logprobs");
  }
  if (pooled && request.prompt.size() > static_cast<size_t>(max_total_tokens)) {
    return invalid("`inputs` must have less than " + std::to_string(max_total_tokens + 1) +
                   " tokens. Given: " + std::to_string(request.prompt.size()));
  }
  if (!pooled && request.max_new_tokens < 1) return invalid("`max_new_tokens` must be strictly positive");
  if (request.prompt.size() + static_cast<size_t>(request.max_new_tokens) > static_cast<size_t>(max_total_tokens)) {
    return invalid("`inputs` tokens + `max_new_tokens` must be <= " + std::to_string(max_total_tokens) +
                   ". Given: " + std::to_string(request.prompt.size()) + " `inputs` tokens and " +
                   std::to_string(request.max_new_tokens) + " `max_new_tokens`");
  }
  if (request.num_alternatives < 0 || request.num_alternatives > vocab_size) {
    return invalid("`return_k_alternatives` must be between 0 and " + std::to_string(vocab_size));
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty()) return invalid("`stop` must not contain an empty string");
  }
  if (!request.adapter.id.empty() && request.adapter.source != "local") {
    return unsupported("adapter source `" + request.adapter.source +
                       "` is not available: give the directory of a PEFT adapter with source `local`");
  }
  if (request.grammar != nullptr && request.grammar->vocabulary_size() < vocab_size) {
    return invalid("the grammar was compiled for another model");
  }
  return runtime::validate(request.sampling, vocab_size);
}

}  // namespace graft::serving
