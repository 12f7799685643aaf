#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "grammar/grammar.h"
#include "serving/api/api_context.h"
#include "serving/api/api_error.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

// What `response_format` asks for; nothing: any text. The forms, on every route:
//   {"type": "text"}
//   {"type": "json_object"}                                  any JSON object
//   {"type": "json_schema", "schema": S}                     LoRAX's; json_object with a schema is the same
//   {"type": "json_schema", "json_schema": {"schema": S}}    OpenAI's; name, description and strict change nothing
//   {"type": "regex", "pattern": "..."}                      the whole output matches
//   {"type": "grammar", "grammar": "root ::= ..."}           GBNF
// "value" stands for "schema", "pattern" or "grammar" too. A schema that is absent means any JSON object; one that is
// null means no constraint, which is what lorax-client sends. `place`: the field's name in messages.
ApiResult<std::optional<grammar::GrammarSpec>> read_response_format(const OrderedJson& format,
                                                                    const std::string& place);

// `response_format` of a body whose keys are in the order in which the client wrote them: the order of a schema's
// properties is that of the output. `within`: the object that holds it ("parameters"), or empty.
ApiResult<std::optional<grammar::GrammarSpec>> response_format_of(std::string_view body, const std::string& within);

// Compiles what `field` asked for, then calls `done` with the grammar, null where `spec` is nothing: at once where
// there is nothing to wait for, else on a compiling thread.
void compile_constraint(const ApiContext& context, const std::optional<grammar::GrammarSpec>& spec,
                        const std::string& field,
                        std::function<void(ApiResult<std::shared_ptr<const grammar::Grammar>>)> done);

}  // namespace graft::serving::api
