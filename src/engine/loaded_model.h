#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "model/decoder.h"
#include "storage/model_store.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::engine {

// A base model, ready to run: weights mapped, tokenizer and template parsed.
struct LoadedModel {
  std::string name;    // as it was asked for
  std::string digest;  // of its source
  std::string dtype;   // float32 | bfloat16 | int8 | int4
  std::shared_ptr<const model::Decoder> decoder;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null where the model has none
  nlohmann::ordered_json template_variables;                // bos_token, eos_token, ...
  std::string text_digest;                                  // of how it reads text: recipe::text_digest
};

// The model's weights for the kernels, made where they are not there yet.
Result<std::filesystem::path> prepare_model(const storage::ModelStore& store, const storage::StoredModel& model,
                                            const std::string& dtype);

// `model`: a name that `graft import` gave, a Hugging Face directory or a .gguf file (imported on the way).
Result<LoadedModel> load_model(const std::string& model, const std::string& dtype);

}  // namespace graft::engine
