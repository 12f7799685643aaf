#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "serving/api/api_context.h"
#include "serving/api/fields.h"

namespace graft::serving::api {

struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

// One prompt or an array of them, each a string or token ids: OpenAI's `prompt` and `input`. An array of integers is
// one prompt. Errors go to `fields`.
std::vector<Prompt> read_prompts(const ApiContext& context, Fields& fields, const char* name, size_t most);

}  // namespace graft::serving::api
