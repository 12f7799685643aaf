#include "recipe/row_encoder.h"

namespace graft::recipe {

ChatRenderer chat_renderer(std::shared_ptr<const text::ChatTemplate> chat_template, nlohmann::ordered_json variables) {
  if (chat_template == nullptr) return {};
  return [compiled = std::move(chat_template), extra = std::move(variables)](
             const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools, bool add_generation_prompt) {
    text::ChatTemplateOptions options;
    options.tools = tools;
    options.add_generation_prompt = add_generation_prompt;
    options.extra = extra;
    return compiled->render(messages, options);
  };
}

}  // namespace graft::recipe
