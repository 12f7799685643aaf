#include "grammar/vocabulary.h"

#include <algorithm>
#include <utility>

#include "grammar/grammar.h"
#include "grammar/token_bytes.h"

namespace graft::grammar {
namespace {

std::vector<int32_t> within(const std::vector<int32_t>& ids, int64_t size) {
  std::vector<int32_t> out;
  for (const int32_t id : ids) {
    if (id >= 0 && id < size && std::ranges::find(out, id) == out.end()) out.push_back(id);
  }
  return out;
}

xgrammar::TokenizerInfo make_info(std::vector<std::string> bytes, int64_t model_ids,
                                  const std::vector<int32_t>& end_tokens) {
  if (static_cast<int64_t>(bytes.size()) > model_ids) bytes.resize(static_cast<size_t>(model_ids));
  const std::vector<int32_t> ends = within(end_tokens, model_ids);
  // An end token is that and nothing else, whatever it is spelled like.
  for (const int32_t id : ends) {
    if (static_cast<size_t>(id) < bytes.size()) bytes[static_cast<size_t>(id)].clear();
  }
  return {bytes, xgrammar::VocabType::RAW, static_cast<int>(model_ids), ends, false};
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> bytes, int64_t model_ids, const std::vector<int32_t>& end_tokens)
    : info_(make_info(std::move(bytes), model_ids, end_tokens)) {}

std::shared_ptr<const Vocabulary> make_vocabulary(const text::Tokenizer& tokenizer, int64_t model_ids,
                                                  std::vector<int32_t> end_tokens) {
  return std::make_shared<const Vocabulary>(token_bytes(tokenizer), model_ids, end_tokens);
}

}  // namespace graft::grammar
