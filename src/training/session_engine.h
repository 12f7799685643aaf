#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "serving/engine.h"
#include "training/base_model.h"
#include "training/session.h"

namespace graft::training {

// An engine over what a session has trained so far, and the adapter's id for requests to it: empty where the model
// itself is what was trained. `kv_tokens`: positions of its cache.
struct SessionEngine {
  std::unique_ptr<serving::Engine> engine;
  std::string adapter;
};
Result<SessionEngine> open_session_engine(Session& session, const BaseModelInfo& base, int32_t kv_tokens);

// Over the model as it was before. Not while another of the session's is there.
Result<std::unique_ptr<serving::Engine>> open_base_engine(Session& session, const BaseModelInfo& base,
                                                          int32_t kv_tokens);

}  // namespace graft::training
