#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace graft::storage {

// What graft reads of a model's files.
struct ModelFiles {
  std::vector<std::string> files;
  std::string index;  // that lists more files: model.safetensors.index.json or pytorch_model.bin.index.json
  std::string gguf;   // the one to open (the first part of a split file); empty: the directory is the model
};

// Picks from the names of a repository or directory ("config.json", "sub/x.gguf"): configuration, tokenizer and chat
// template with the weights as safetensors, else as PyTorch's .bin, else the only .gguf file. `wanted` names a .gguf
// file, where there are several. `place` is what errors call the repository.
Result<ModelFiles> pick_model_files(std::span<const std::string> names, const std::string& wanted,
                                    const std::string& place);

// The files that an index names ("weight_map"), sorted. They are in the index's directory.
Result<std::vector<std::string>> files_of_index(std::string_view index_json, const std::string& place);

}  // namespace graft::storage
