#include "text/stages/added_tokens.h"

#include <algorithm>

#include "base/strings.h"
#include "text/stages/json_fields.h"
#include "text/stages/source.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

// The search looks at up to this many bytes at every position of the text.
constexpr size_t kLongestAddedToken = 4096;

bool touches_word(std::string_view text, size_t begin, size_t end) {
  const CharClasses& classes = CharClasses::get();
  if (begin > 0 && classes.is(code_point_before(text, begin).value, kWordChar)) return true;
  return end < text.size() && classes.is(code_point_at(text, end).value, kWordChar);
}

size_t skip_space_left(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const CodePoint c = code_point_before(text, begin);
    if (!CharClasses::get().is(c.value, kSpace)) break;
    begin -= c.size;
  }
  return std::max(begin, limit);
}

size_t skip_space_right(std::string_view text, size_t end) {
  while (end < text.size()) {
    const CodePoint c = code_point_at(text, end);
    if (!CharClasses::get().is(c.value, kSpace)) break;
    end += c.size;
  }
  return end;
}

Result<AddedToken> read_token(const nlohmann::json& value, const std::string& path) {
  AddedToken token;
  GRAFT_TRY(JsonFields fields, JsonFields::of(value, path));
  GRAFT_TRY(token.content, fields.string("content"));
  const nlohmann::json* id = fields.any("id");
  if (id == nullptr) return invalid(path + ".id: missing; expected a token id");
  GRAFT_TRY(token.id, token_id_from(*id, path + ".id"));
  GRAFT_TRY(token.single_word, fields.boolean("single_word", std::nullopt));
  GRAFT_TRY(token.lstrip, fields.boolean("lstrip", std::nullopt));
  GRAFT_TRY(token.rstrip, fields.boolean("rstrip", std::nullopt));
  GRAFT_TRY(token.normalized, fields.boolean("normalized", std::nullopt));
  GRAFT_TRY(token.special, fields.boolean("special", std::nullopt));
  GRAFT_CHECK_OK(fields.done());
  if (token.content.empty()) return invalid(path + ".content: an added token cannot be empty");
  if (token.content.size() > kLongestAddedToken) {
    return invalid(path + ".content: longer than " + std::to_string(kLongestAddedToken) + " bytes");
  }
  token.is_space = !token.special && skip_space_right(token.content, 0) == token.content.size();
  return token;
}

}  // namespace

void StringTrie::insert(std::string_view text, int32_t value) {
  uint32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t next = child(node, byte);
    if (next == 0) {
      next = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      nodes_[node].children.emplace_back(byte, next);
      if (node == 0) first_[byte] = next;
    }
    node = next;
  }
  if (nodes_[node].value < 0) nodes_[node].value = value;  // of equal strings the first wins
}

uint32_t StringTrie::child(uint32_t node, uint8_t byte) const {
  if (node == 0) return first_[byte];
  for (const auto& [key, next] : nodes_[node].children) {
    if (key == byte) return next;
  }
  return 0;
}

// `tokenizers` ignores the ids in the file and derives its own; the two differ only where the file is wrong.
Result<AddedTokens> AddedTokens::from_json(const nlohmann::json* tokens, const Model& model,
                                           const Normalizer* normalizer) {
  AddedTokens added;
  if (tokens == nullptr) return added;
  if (!tokens->is_array()) {
    return invalid(std::string("added_tokens: expected an array, found ") + tokens->type_name());
  }
  int32_t next_id = model.size();
  for (size_t i = 0; i < tokens->size(); ++i) {
    const std::string path = "added_tokens[" + std::to_string(i) + "]";
    GRAFT_TRY(AddedToken token, read_token((*tokens)[i], path));
    const std::string name = "'" + printable(token.content) + "'";
    const int32_t in_model = model.token_to_id(token.content);
    if (in_model >= 0 && in_model != token.id) {
      return invalid(path + ": " + name + " has id " + std::to_string(token.id) + ", but model.vocab says " +
                     std::to_string(in_model));
    }
    if (in_model < 0 && token.id != next_id) {
      return invalid(path + ": " + name + " has id " + std::to_string(token.id) + "; the next free id is " +
                     std::to_string(next_id));
    }
    if (in_model < 0) ++next_id;
    if (!added.by_content_.emplace(token.content, i).second) return invalid(path + ": " + name + " appears twice");
    added.by_id_.emplace(token.id, i);
    added.tokens_.push_back(std::move(token));
  }
  added.fill_tries(normalizer);
  return added;
}

// Of tokens that are looked for as the same string, a special one is found, then the first.
void AddedTokens::fill_tries(const Normalizer* normalizer) {
  for (const bool special : {true, false}) {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      const bool rewritten = token.normalized && normalizer != nullptr && normalizer->may_change(token.content);
      const std::string content = rewritten ? normalizer->normalize(token.content, nullptr) : token.content;
      (token.normalized ? normalized_ : raw_).insert(content, static_cast<int32_t>(i));
    }
  }
}

const AddedToken* AddedTokens::by_id(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::by_content(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::longest_at(std::string_view text, size_t begin, const StringTrie& trie,
                                          const IsProtected& is_protected, size_t* end) const {
  const AddedToken* best = nullptr;
  trie.match(text, begin, [&](size_t length, int32_t index) {
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (is_protected && !token.is_space && is_protected(begin, begin + length)) return;
    best = &token;
    *end = begin + length;
  });
  return best;
}

std::vector<TextSegment> AddedTokens::split(std::string_view text, const StringTrie& trie,
                                            const IsProtected& is_protected) const {
  std::vector<TextSegment> segments;
  size_t taken = 0;        // text before this is in a segment
  ByteRange spaces{0, 0};  // white space that was looked at last: looked at once, however many tokens end in it
  const auto space_end = [&](size_t end) {
    if (end < spaces.first || end >= spaces.second) spaces = {end, skip_space_right(text, end)};
    return std::max(end, spaces.second);
  };
  for (size_t i = 0; i < text.size();) {
    size_t end = 0;
    const AddedToken* token = trie.may_start_with(text[i]) ? longest_at(text, i, trie, is_protected, &end) : nullptr;
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i;
    i = end;
    if (token->single_word && touches_word(text, begin, end)) continue;
    if (token->lstrip) begin = std::max(taken, skip_space_left(text, begin, std::min(taken, begin)));
    if (token->rstrip) end = space_end(end);
    if (taken < begin) segments.push_back({taken, begin, -1});
    segments.push_back({begin, end, token->id});
    taken = end;
  }
  if (taken < text.size()) segments.push_back({taken, text.size(), -1});
  return segments;
}

}  // namespace graft::text
