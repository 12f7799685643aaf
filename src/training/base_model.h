#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "formats/model_spec.h"
#include "runtime/step_model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "training/session.h"
#include "training/session_settings.h"
#include "training/train_state.h"

namespace graft::training {

struct BaseModelInfo {
  std::string name;    // as it was asked for
  std::string digest;  // of the weights
  std::string dtype;   // float32 | bfloat16
  formats::ModelSpec spec;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;                       // null where the model has none
  nlohmann::ordered_json template_variables = nlohmann::ordered_json::object();  // bos_token, eos_token, ...
  RunEnvironment environment;                                                    // threads resolved
  std::string text_digest;  // recipe/prepare_file.h; empty: prepared data is not kept
};

// A base model that is ready to be trained on or asked. The program graft-engine brings the torch implementation, tests
// bring a toy.
class BaseModel {
 public:
  virtual ~BaseModel() = default;
  [[nodiscard]] virtual const BaseModelInfo& info() const = 0;
  // Errors: invalid for target modules that the model does not have.
  virtual Result<std::unique_ptr<Session>> open_session(const SessionSettings& settings) = 0;
  // For evaluation without a session. `kv_tokens`: positions that the cache holds, over all sequences.
  virtual Result<std::unique_ptr<runtime::StepModel>> open_step_model(int32_t kv_tokens) = 0;
};

struct BaseModelRequest {
  std::string name;     // a name that `graft import` gave, or a path
  std::string dtype;    // float32 | bfloat16
  int32_t threads = 0;  // 0: as many as the machine has cores
};

// not_found names the models that there are, or says how to import one.
using OpenBaseModel = std::function<Result<std::unique_ptr<BaseModel>>(const BaseModelRequest&)>;

}  // namespace graft::training
