#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "formats/model_spec.h"

namespace graft::cli {

// What a model says about text.
struct ModelText {
  std::string tokenizer_json;
  std::map<std::string, std::string> chat_templates;  // by name; empty where there are none
  std::map<std::string, std::string> special_tokens;  // "bos_token" -> text
  formats::ModelSpec spec;
};

// Of an imported model by name, or of a Hugging Face directory or .gguf file, imported or not.
Result<ModelText> load_model_text(const std::string& name_or_path);

}  // namespace graft::cli
