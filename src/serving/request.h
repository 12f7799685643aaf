#pragma once

#include <chrono>
#include <memory>

#include "grammar/grammar.h"
#include "serving/adapter_files.h"
#include "serving/engine.h"
#include "serving/output.h"
#include "serving/sequence.h"
#include "serving/speculation.h"

namespace graft::serving {

using Clock = std::chrono::steady_clock;

// A request on its way through the engine. Sequences in the scheduler and in the adapter pool are Requests.
struct Request : Sequence {
  Request(RequestId request_id, GenerationRequest generation, std::shared_ptr<GenerationSink> receiver,
          const text::Tokenizer& tokenizer, const std::vector<int32_t>& eos_token_ids);

  // These contain what a sink throws; false: it did.
  bool send_token(const GeneratedToken& token) noexcept;
  void send_error(Error error) noexcept;
  void send_result(GenerationResult result) noexcept;

  RequestId id;
  GenerationRequest params;
  std::shared_ptr<GenerationSink> sink;
  Output output;
  std::unique_ptr<Speculation> speculation;   // null: none
  std::unique_ptr<Pooler> pooler;             // null: not asked for, or the adapter is not there yet
  std::unique_ptr<grammar::Matcher> matcher;  // has accepted the output; null: no grammar
  AdapterFiles adapter_files;
  std::vector<runtime::TokenLogprob> prefill;
  Clock::time_point submitted = Clock::now();
  Clock::time_point first_step;
  Clock::time_point first_token;
  Clock::time_point deadline = Clock::time_point::max();
};

// Whether the request can be honoured at all, by a model of `vocab_size` and with at most `max_total_tokens`.
Status validate(const GenerationRequest& request, int64_t vocab_size, int32_t max_total_tokens);

}  // namespace graft::serving
