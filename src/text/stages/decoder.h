#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/decode_stage.h"

namespace graft::text {

// Text growing token by token. Whole texts are decoded through it too, so the two agree by construction.
class DecodeStream {
 public:
  // `stages` take the tokens on in turn; what comes out of the last is the text.
  explicit DecodeStream(std::vector<std::unique_ptr<DecodeStage>> stages);

  // Appends the text that is certain once this token has come. `token` is spelled as in the vocabulary.
  void push(std::string_view token, std::string& out);
  // Appends what was held back; the stream ends.
  void finish(std::string& out);

 private:
  // The end of the chain.
  class Collector : public DecodeStage {
   public:
    void text(std::string_view piece) override { out->append(piece); }
    void end_token() override {}
    void finish() override {}
    std::string* out = nullptr;
  };
  Collector collector_;
  std::vector<std::unique_ptr<DecodeStage>> stages_;
  bool finished_ = false;
};

// Turns tokens back into text. Immutable.
class Decoder {
 public:
  using MakeStage = std::function<std::unique_ptr<DecodeStage>()>;
  explicit Decoder(std::vector<MakeStage> stages) : stages_(std::move(stages)) {}

  // With `clean_up_spaces`, spaces in front of punctuation and English contractions go, as transformers does it where
  // tokenizer_config.json says clean_up_tokenization_spaces.
  [[nodiscard]] std::unique_ptr<DecodeStream> stream(bool clean_up_spaces) const;

 private:
  std::vector<MakeStage> stages_;
};

// Where `spec` is null: tokens as they are, with a space between, as in `tokenizers`.
Result<std::unique_ptr<Decoder>> make_decoder(const nlohmann::json* spec, const std::string& path);

}  // namespace graft::text
