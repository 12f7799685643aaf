#pragma once

#include <string>

#include "grammar/grammar.h"
#include "serving/api/json_text.h"
#include "serving/api/tool_call_stream.h"
#include "text/chat_template.h"

namespace graft::serving::api {

// How a model and its chat template deal with tools: found out by rendering a small conversation.
struct ToolDialect {
  ToolFormat format = ToolFormat::kJson;
  bool in_template = false;  // the template tells the model about tools

  static ToolDialect of(const text::ChatTemplate& chat_template, const text::ChatTemplateOptions& options);

  // What the prompt ends with where a call is forced.
  [[nodiscard]] std::string forced_prefix() const;
  // A JSON Schema of what has to follow it: a call of one of `tools` (OpenAI's definitions). Mistral's calls come as a
  // list, of at most `most` calls.
  [[nodiscard]] std::string forced_schema(const OrderedJson& tools, int most) const;
  // What a system message tells models whose template does not.
  [[nodiscard]] std::string instructions(const OrderedJson& tools) const;
  // Mistral's templates take ids of nine letters and digits only.
  [[nodiscard]] std::string new_call_id() const;
};

}  // namespace graft::serving::api
