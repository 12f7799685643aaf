#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "net/http.h"
#include "net/response_writer.h"
#include "serving/api/api_context.h"
#include "serving/api/caller.h"
#include "serving/api/choice_text.h"
#include "serving/api/json_text.h"
#include "serving/api/openai_request.h"
#include "serving/api/response_headers.h"
#include "serving/api/tool_deltas.h"

namespace graft::serving::api {

// How the two completion routes write their answers.
class OpenAiFormat {
 public:
  virtual ~OpenAiFormat() = default;
  [[nodiscard]] virtual std::string_view id_prefix() const = 0;
  [[nodiscard]] virtual std::string_view object_name(bool stream) const = 0;
  [[nodiscard]] virtual bool wants_logprobs() const = 0;
  // A choice of a whole answer. `result` has the prompt's logprobs where the request asked for them.
  [[nodiscard]] virtual OrderedJson whole(size_t index, const ChoicePiece& piece, std::string_view finish_reason,
                                          const GenerationResult& result) const = 0;
  // The first chunk of a choice's stream; null: none.
  [[nodiscard]] virtual OrderedJson opening(size_t index) const = 0;
  // What the answer may call; null: it is text as it is.
  [[nodiscard]] virtual const ToolUse* tools() const { return nullptr; }
  // A further chunk with a delta of its own, where there are tools; `piece`: the tokens that it came from.
  [[nodiscard]] virtual OrderedJson delta_with(size_t /*index*/, OrderedJson delta,
                                               const ChoicePiece& /*piece*/) const {
    return delta;
  }
  // A further chunk. Null finish_reason: more is to come.
  [[nodiscard]] virtual OrderedJson delta(size_t index, const ChoicePiece& piece,
                                          const OrderedJson& finish_reason) const = 0;
};

// One request of either route, ready to run.
struct OpenAiCall {
  ContextPtr context;
  net::ResponseWriter writer;
  Timeline times;
  Caller caller;
  OpenAiRequest asked;
  std::shared_ptr<const OpenAiFormat> format;
  size_t characters = 0;                             // of the prompts
  size_t best_of = 1;                                // sequences of each prompt; asked.choices of them are answered
  bool drop_output = false;                          // max_tokens = 0: only the prompt is of interest
  std::optional<grammar::GrammarSpec> constraint;    // of the output
  std::string constraint_field = "response_format";  // where it came from
  std::vector<GenerationRequest> requests;           // best_of for each prompt, prompt by prompt

  OpenAiCall(ContextPtr c, net::ResponseWriter w) : context(std::move(c)), writer(std::move(w)) {}
};

void refuse(const OpenAiCall& call, const ApiError& error);
// Compiles the constraint first, where there is one.
void run(const std::shared_ptr<OpenAiCall>& call);

}  // namespace graft::serving::api
