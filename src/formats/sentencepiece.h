#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::formats {

// A SentencePiece model as far as tokenising needs it: what is in a file tokenizer.model (the protobuf message
// ModelProto of sentencepiece_model.proto), or in a GGUF file's metadata of the tokenizer kind "llama".
struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2 };
  enum class PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  Kind kind = Kind::kUnigram;
  std::vector<Piece> pieces;  // by id
  bool byte_fallback = false;
  int64_t unk_id = 0;
  int64_t bos_id = 1;  // -1: none
  int64_t eos_id = 2;
  std::string charsmap;  // the compiled rules of normalisation; may be empty
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Reads a tokenizer.model. Strict: errors name the byte, and what cannot be honoured is refused. `bytes` bounds all
// that is allocated.
Result<SentencePieceModel> parse_sentencepiece(std::string_view bytes);

struct SentencePieceOptions {
  bool add_bos = true;
  bool add_eos = false;
  // As LLaMA's class in transformers has them: "legacy" puts the space in front of every stretch of text between
  // special tokens, not of the first only.
  bool legacy = true;
  bool add_prefix_space = true;  // false: none, whatever the model says
};

// The same tokenizer as a tokenizer.json, made the way transformers converts it: BPE's merges are derived from the
// scores. Text in which no special token occurs gets the ids of the package sentencepiece.
Result<std::string> tokenizer_json_from_sentencepiece(const SentencePieceModel& model,
                                                      const SentencePieceOptions& options);

// The tokenizer.json of a tokenizer.model, with the options that a tokenizer_config.json beside it sets (JSON, or
// empty): add_bos_token and add_eos_token, which LLaMA's and Gemma's tokenizers add or leave out where it does not say;
// and for LLaMA's own class, legacy and add_prefix_space.
Result<std::string> tokenizer_json_from_sentencepiece_file(std::string_view bytes, std::string_view tokenizer_config);

}  // namespace graft::formats
