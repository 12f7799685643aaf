#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace graft::text {

// One step of decoding. Tokens come in one after another, each in one or several pieces of valid UTF-8 that end_token()
// closes, and leave for the next stage the same way. What a later token may still change is held back.
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void text(std::string_view piece) = 0;
  virtual void end_token() = 0;
  virtual void finish() = 0;  // no more tokens come
  void set_next(DecodeStage* next) { next_ = next; }

 protected:
  void emit(std::string_view piece) {
    if (!piece.empty()) next_->text(piece);
  }
  void emit_token(std::string_view token) {
    emit(token);
    next_->end_token();
  }
  [[nodiscard]] DecodeStage& next() { return *next_; }

 private:
  DecodeStage* next_ = nullptr;
};

// A stage that needs to see a token as a whole.
class WholeTokenStage : public DecodeStage {
 public:
  void text(std::string_view piece) final { token_ += piece; }
  void end_token() final {
    token(token_);
    token_.clear();
  }
  void finish() override { next().finish(); }

 protected:
  virtual void token(std::string_view token) = 0;

 private:
  std::string token_;
};

// Replaces plain text within tokens, holding back only what may be the beginning of it.
class LiteralReplaceStage : public DecodeStage {
 public:
  LiteralReplaceStage(std::string literal, std::string content)
      : literal_(std::move(literal)), content_(std::move(content)) {}
  void text(std::string_view piece) override;
  void end_token() override;
  void finish() override { next().finish(); }

 private:
  std::string literal_;
  std::string content_;
  std::string pending_;
};

// Makes one token of all.
class FuseStage : public DecodeStage {
 public:
  void text(std::string_view piece) override { emit(piece); }
  void end_token() override {}
  void finish() override {
    next().end_token();
    next().finish();
  }
};

// The makers of the stages with a story of their own; decoder.cc has the others.
std::unique_ptr<DecodeStage> make_byte_fallback_stage();
std::unique_ptr<DecodeStage> make_byte_level_stage();
std::unique_ptr<DecodeStage> make_strip_stage(std::string character, size_t start, size_t stop);

}  // namespace graft::text
