#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/result.h"

namespace graft::formats {

inline constexpr const char* kChatTemplateFolder = "additional_chat_templates";

// The chat templates of a Hugging Face directory by name: chat_template.jinja ("default") and
// additional_chat_templates/NAME.jinja where there are such files, else tokenizer_config.json's chat_template, which is
// text ("default") or a list of {name, template}. As transformers reads them; empty where there are none.
Result<std::map<std::string, std::string>> read_chat_templates(const std::filesystem::path& directory);

}  // namespace graft::formats
