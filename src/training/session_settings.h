#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/peft_config.h"
#include "training/optimizers/updater.h"

namespace graft::training {

// Arithmetic of the first factors (training/lora_session/pissa.h).
struct PissaSettings {
  int64_t iterations = 0;  // of a randomised decomposition; 0: the exact one
};

// What a session trains.
struct SessionSettings {
  formats::PeftConfig peft;  // as it will be saved: of a PiSSA, twice the trained rank
  uint64_t seed = 0;         // of the adapter's first weights
  std::string pretrained;    // PEFT directory to start from, or empty
  Optimization optimization;
  std::optional<PissaSettings> pissa = std::nullopt;  // nothing: A random, B zero
  double neftune_noise_alpha = 0;                     // noise on the embeddings of training passes; 0: none
  // The names of the classes: then the session also trains a head on the last hidden state of every sequence, and
  // peft.task says so. Empty: it predicts tokens.
  std::vector<std::string> labels = {};
  bool checkpointing = false;  // of activations: layers keep their input alone until the backward pass
  bool full = false;           // all weights are trained: of the above, only seed and optimization count
};

}  // namespace graft::training
