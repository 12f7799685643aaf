#include "text/stages/vocabulary.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "text/stages/json_fields.h"

namespace graft::text {

Result<Vocabulary> Vocabulary::from(TokenizerFile& file) {
  if (file.vocab.empty()) return invalid("model.vocab: missing or empty");
  int32_t largest = -1;
  for (const auto& [token, id] : file.vocab) {
    auto checked = token_id_from(nlohmann::json(id), "");
    if (!checked.ok()) return token_id_from(nlohmann::json(id), "model.vocab['" + printable(token) + "']").error();
    largest = std::max(largest, *checked);
  }
  // A table is as long as the largest id: a few tokens with huge ids must not make it large.
  if (static_cast<size_t>(largest + 1) > 2 * file.vocab.size() + 65536) {
    return invalid("model.vocab: largest id is " + std::to_string(largest) + ", but there are only " +
                   std::to_string(file.vocab.size()) + " tokens");
  }
  Vocabulary vocabulary;
  vocabulary.size_ = static_cast<int32_t>(file.vocab.size());
  vocabulary.tokens_.resize(static_cast<size_t>(largest + 1));
  std::vector<bool> used(vocabulary.tokens_.size());
  for (auto& [token, id] : file.vocab) {
    const auto index = static_cast<size_t>(id);
    if (used[index]) {
      return invalid("model.vocab['" + printable(token) + "']: id " + std::to_string(id) + " belongs to '" +
                     printable(vocabulary.tokens_[index]) + "' already");
    }
    used[index] = true;
    vocabulary.tokens_[index] = std::move(token);
  }
  vocabulary.ids_.reserve(vocabulary.tokens_.size());
  for (size_t id = 0; id < vocabulary.tokens_.size(); ++id) {
    if (used[id] && !vocabulary.ids_.insert(vocabulary.tokens_[id], static_cast<int32_t>(id))) {
      return invalid("model.vocab['" + printable(vocabulary.tokens_[id]) + "']: appears twice");
    }
  }
  return vocabulary;
}

std::string byte_token(uint8_t byte) {
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
  return name;
}

}  // namespace graft::text
