#pragma once

#include <cstdint>
#include <string>

#include "training/finish_run.h"

namespace graft::training {

// README.md of an adapter directory: a model card as hubs read it (https://huggingface.co/docs/hub/model-cards). The
// header in YAML names the base model where its name can be one of a hub's, the library, tags and the validation loss;
// the text says what was trained on what, with which settings and results, and how to serve, load and merge it. Of the
// data only the file's name and digest are named, no path of this machine.
std::string render_model_card(const FinishedRun& run, const RunResult& result, int64_t trainable_parameters);

}  // namespace graft::training
