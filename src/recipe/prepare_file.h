#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/prepare.h"

namespace graft::recipe {

struct PreparedFile {
  PreparedData data;
  std::string sha256;  // of the data file
};

// What of a model decides how rows are encoded, as a digest: its tokenizer.json, its chat templates and what they may
// name, the tokens that end an answer.
std::string text_digest(const std::string& tokenizer_json, const std::map<std::string, std::string>& chat_templates,
                        const nlohmann::ordered_json& template_variables, const std::vector<int32_t>& eos_token_ids);

// prepare() of the file at `path`, which is found again in the DatasetCache by what the result depends on: the SHA-256
// of the file, `text` (text_digest; empty: nothing is kept), the keys of the config that say how rows are read and
// split, the limit. A run that was interrupted goes on where it stopped. Where nothing can be kept, as on a disk that
// is read-only, a note says so.
Result<PreparedFile> prepare_file(const TrainingConfig& config, const RowEncoder& encoder, const std::string& text,
                                  const std::string& path, PrepareOptions options);

}  // namespace graft::recipe
