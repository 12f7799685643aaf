#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

// Grammars for constrained output: which tokens may come next, so that the finished text is in a language.
// XGrammar (Dong et al., arXiv:2411.15100) does the matching; what it throws stays in this room.
namespace graft::grammar {

enum class GrammarKind {
  kJsonObject,  // any JSON object; no text
  kJsonSchema,  // text: a JSON Schema (draft 2020-12; see schema.h for what is understood)
  kRegex,       // text: a regular expression that the whole output matches
  kEbnf,        // text: GBNF, the start is `root`
};

struct GrammarSpec {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string text;
  bool operator==(const GrammarSpec&) const = default;
};

struct GrammarLimits {
  size_t text_bytes = 128 * 1024;
  int depth = 48;                                    // of nested schemas and of brackets in expressions
  size_t repetitions = 100'000;                      // of one counted repetition: {n,m}, maxLength, maxItems
  std::chrono::milliseconds compile_time{10'000};    // of a processor
  int64_t grammar_bytes = 256 << 20;                 // of one compiled grammar
  std::chrono::milliseconds mask_time{200};          // of a processor, for one token's mask
  std::chrono::milliseconds mask_time_per_token{2};  // on average; what a request may spend before counts as mask_time
};

class Matcher;
class Vocabulary;

// A compiled grammar. Immutable and shared by all requests that ask for it.
class Grammar {
 public:
  virtual ~Grammar() = default;
  [[nodiscard]] virtual std::unique_ptr<Matcher> matcher() const = 0;
  // Whether a finished output, end token left out, is what was asked for: JSON is checked against the schema itself,
  // since a grammar cannot say all that a schema can. The error says where and why.
  [[nodiscard]] virtual Status validate(std::string_view output) const = 0;
  [[nodiscard]] virtual int64_t bytes() const = 0;
  [[nodiscard]] virtual int64_t vocabulary_size() const = 0;  // ids that a mask speaks of
};

// One output on its way through a grammar. Belongs to one thread at a time.
class Matcher {
 public:
  virtual ~Matcher() = default;

  // Bit i % 32 of word i / 32 says whether token i may come next; as many bits as the model has ids, rounded up. End
  // tokens are allowed where the text so far is whole. Valid until the next call. Errors: the grammar is too slow here.
  virtual Result<std::span<const uint32_t>> mask() = 0;
  virtual Status accept(int32_t token) = 0;      // an error where the mask forbids it
  [[nodiscard]] virtual bool ended() const = 0;  // an end token was accepted: nothing more may come
  // Takes the last `count` accepted tokens back.
  virtual void rollback(int count) = 0;
  [[nodiscard]] virtual std::unique_ptr<Matcher> fork() const = 0;  // goes on from here, independently
};

// What each token of a model is made of. Immutable; all grammars of a model share it.
// `model_ids`: how many ids the model's logits have; those beyond the tokenizer's are never allowed.
std::shared_ptr<const Vocabulary> make_vocabulary(const text::Tokenizer& tokenizer, int64_t model_ids,
                                                  std::vector<int32_t> end_tokens);

// In the calling thread, which needs a deep stack (see Compiler). Errors: invalid, with the place in a schema; or that
// a limit is exceeded.
Result<std::shared_ptr<const Grammar>> compile(const GrammarSpec& spec,
                                               const std::shared_ptr<const Vocabulary>& vocabulary,
                                               const GrammarLimits& limits);

}  // namespace graft::grammar
