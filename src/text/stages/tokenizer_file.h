#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace graft::text {

// A tokenizer.json taken apart: the vocabulary and the merges, which make up nearly all of it, in compact form, and
// everything else as a tree. The large lists never exist as JSON values: a quarter of a second and a hundred megabytes
// less for a vocabulary of 150,000.
struct TokenizerFile {
  nlohmann::json root;                                      // without model.vocab and model.merges
  std::vector<std::pair<std::string, int64_t>> vocab;       // where model.vocab is an object: {token: id}
  std::vector<std::pair<std::string, double>> pieces;       // where it is an array: [token, score] by id
  std::vector<std::pair<std::string, std::string>> merges;  // as strings "a b" or as pairs ["a", "b"]
};

Result<TokenizerFile> read_tokenizer_file(std::string_view json);

}  // namespace graft::text
