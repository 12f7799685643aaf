#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "serving/engine.h"
#include "serving/fake_step_model.h"

namespace graft::serving {

// Byte b is token b; <eos> is 256.
inline std::shared_ptr<const text::Tokenizer> byte_tokenizer() {
  const auto utf8 = [](int code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  };
  // The byte-level alphabet: printable bytes stand for themselves, the others for 256 and up.
  nlohmann::ordered_json vocabulary = nlohmann::ordered_json::object();
  int shifted = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    vocabulary[utf8(printable ? byte : shifted++)] = byte;
  }
  const nlohmann::ordered_json level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const nlohmann::ordered_json tokenizer = {{"version", "1.0"},
                                            {"truncation", nullptr},
                                            {"padding", nullptr},
                                            {"added_tokens",
                                             {{{"id", 256},
                                               {"content", "<eos>"},
                                               {"single_word", false},
                                               {"lstrip", false},
                                               {"rstrip", false},
                                               {"normalized", false},
                                               {"special", true}}}},
                                            {"normalizer", nullptr},
                                            {"pre_tokenizer", level},
                                            {"post_processor", nullptr},
                                            {"decoder", level},
                                            {"model",
                                             {{"type", "BPE"},
                                              {"dropout", nullptr},
                                              {"unk_token", nullptr},
                                              {"continuing_subword_prefix", nullptr},
                                              {"end_of_word_suffix", nullptr},
                                              {"fuse_unk", false},
                                              {"byte_fallback", false},
                                              {"vocab", vocabulary},
                                              {"merges", nlohmann::ordered_json::array()}}}};
  auto parsed = text::Tokenizer::from_json(tokenizer.dump());
  if (!parsed.ok()) throw std::runtime_error(parsed.error().message);
  return std::move(parsed).value();
}

// Keeps everything it gets; other threads wait for it.
class RecordingSink final : public GenerationSink {
 public:
  std::function<void(const GeneratedToken&)> token_hook;  // on the engine's thread, may throw
  std::function<void()> end_hook;

  void on_token(const GeneratedToken& token) override {
    {
      const std::lock_guard lock(mutex_);
      tokens_.push_back(token);
      changed_.notify_all();
    }
    if (token_hook) token_hook(token);
  }
  void on_finish(GenerationResult result) override { end(std::move(result)); }
  void on_error(Error error) override { end(std::move(error)); }

  Result<GenerationResult> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return outcome_.has_value(); });
    return *outcome_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return outcome_.has_value() || tokens_.size() >= count; });
  }
  [[nodiscard]] std::vector<GeneratedToken> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  [[nodiscard]] int ends() {
    const std::lock_guard lock(mutex_);
    return ends_;
  }

 private:
  void end(Result<GenerationResult> outcome) {
    if (end_hook) end_hook();
    const std::lock_guard lock(mutex_);
    outcome_.emplace(std::move(outcome));
    ++ends_;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GeneratedToken> tokens_;
  std::optional<Result<GenerationResult>> outcome_;
  int ends_ = 0;
};

// A door that threads wait at until a test opens it.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    arrived_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return arrived_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool arrived_ = false;
};

inline GenerationRequest request(std::vector<int32_t> prompt, int32_t max_new_tokens) {
  GenerationRequest made;
  made.prompt = std::move(prompt);
  made.max_new_tokens = max_new_tokens;
  made.ignore_eos = true;
  return made;
}

}  // namespace graft::serving
