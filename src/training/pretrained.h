#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "training/base_model.h"

namespace graft::training {

struct PretrainedAdapter {
  std::string directory;              // PEFT files
  std::vector<std::string> warnings;  // what could not be checked
};

// What adapter.pretrained_adapter_weights names: a PEFT directory; the directory of a run, which means its adapter/;
// one of a run's checkpoints, JOB/checkpoints/N, which means the adapter in it; or the name of a run in
// $GRAFT_HOME/jobs. Errors: not_found, with what is there instead; conflict where the adapter's certificate or its run
// says that it was trained over another base model than `base`, which it would not fit in value though it may in shape.
Result<PretrainedAdapter> find_pretrained(const std::string& named, const BaseModelInfo& base);

}  // namespace graft::training
