#include "grammar/grammar.h"

#include <xgrammar/compiler.h>
#include <xgrammar/matcher.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "grammar/expression_limits.h"
#include "grammar/schema.h"
#include "grammar/schema_validator.h"
#include "grammar/vocabulary.h"
#include "grammar/xgrammar_edge.h"

namespace graft::grammar {
namespace {

using std::chrono::nanoseconds;

// White space that JSON may have between its tokens: as much as pretty printing needs, not as much as a model that has
// lost its way would print.
constexpr int kMostWhiteSpace = 24;

template <class Work>
auto while_generating(Work&& work) -> Result<decltype(work())> {
  auto result = guarded("the grammar", std::forward<Work>(work));
  if (!result.ok()) return internal_error(result.error().message);  // the request itself was fine
  return result;
}

class MatcherImpl final : public Matcher {
 public:
  MatcherImpl(std::shared_ptr<const Vocabulary> vocabulary, xgrammar::GrammarMatcher matcher,
              const GrammarLimits& limits)
      : vocabulary_(std::move(vocabulary)),
        matcher_(std::move(matcher)),
        limits_(limits),
        words_(static_cast<size_t>(xgrammar::GetBitmaskSize(vocabulary_->size()))) {}

  Result<std::span<const uint32_t>> mask() override {
    return while_generating([&] {
      const WorkBudget budget(allowance());
      int64_t shape = static_cast<int64_t>(words_.size());
      DLTensor tensor{};
      tensor.data = words_.data();
      tensor.device = {kDLCPU, 0};
      tensor.ndim = 1;
      tensor.dtype = xgrammar::GetBitmaskDLType();
      tensor.shape = &shape;
      matcher_.FillNextTokenBitmask(&tensor);
      spent_ += budget.spent();
      return std::span<const uint32_t>(words_);
    });
  }

  Status accept(int32_t token) override {
    const Result<bool> accepted = while_generating([&] {
      const WorkBudget budget(allowance());
      const bool yes = matcher_.AcceptToken(token);
      spent_ += budget.spent();
      return yes;
    });
    if (!accepted.ok()) return accepted.error();
    if (!*accepted) return internal_error("the grammar does not allow token " + std::to_string(token));
    ++tokens_;
    return {};
  }

  [[nodiscard]] bool ended() const override { return matcher_.IsTerminated(); }

  void rollback(int count) override {
    matcher_.Rollback(count);
    tokens_ -= count;
  }

  [[nodiscard]] std::unique_ptr<Matcher> fork() const override {
    auto copy = std::make_unique<MatcherImpl>(vocabulary_, matcher_.Fork(), limits_);
    copy->spent_ = spent_;
    copy->tokens_ = tokens_;
    return copy;
  }

 private:
  [[nodiscard]] nanoseconds allowance() const {
    return limits_.mask_time + tokens_ * nanoseconds(limits_.mask_time_per_token) - spent_;
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  xgrammar::GrammarMatcher matcher_;
  GrammarLimits limits_;
  std::vector<uint32_t> words_;
  nanoseconds spent_{};
  int64_t tokens_ = 0;
};

class GrammarImpl final : public Grammar {
 public:
  GrammarImpl(std::shared_ptr<const Vocabulary> vocabulary, xgrammar::CompiledGrammar compiled,
              std::optional<SchemaValidator> validator, const GrammarLimits& limits)
      : vocabulary_(std::move(vocabulary)),
        compiled_(std::move(compiled)),
        validator_(std::move(validator)),
        limits_(limits) {}

  [[nodiscard]] std::unique_ptr<Matcher> matcher() const override {
    return std::make_unique<MatcherImpl>(vocabulary_, xgrammar::GrammarMatcher(compiled_), limits_);
  }
  [[nodiscard]] Status validate(std::string_view output) const override {
    return validator_ ? validator_->validate_text(output) : Status{};
  }
  [[nodiscard]] int64_t vocabulary_size() const override { return vocabulary_->size(); }
  [[nodiscard]] int64_t bytes() const override { return static_cast<int64_t>(compiled_.MemorySizeBytes()); }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  xgrammar::CompiledGrammar compiled_;
  std::optional<SchemaValidator> validator_;
  GrammarLimits limits_;
};

// What is compiled: a schema, an expression or a grammar, checked and rewritten.
struct Prepared {
  std::string text;
  StringRules strings;                       // of schemas
  std::optional<SchemaValidator> validator;  // of schemas
};

Result<Prepared> prepare(const GrammarSpec& spec, const GrammarLimits& limits) {
  if (spec.kind == GrammarKind::kRegex) {
    GRAFT_TRY(std::string pattern, whole_match_pattern(spec.text, limits));
    return Prepared{std::move(pattern), {}, std::nullopt};
  }
  if (spec.kind == GrammarKind::kEbnf) {
    GRAFT_CHECK_OK(check_grammar_text(spec.text, limits));
    return Prepared{spec.text, {}, std::nullopt};
  }
  const std::string text = spec.kind == GrammarKind::kJsonObject ? R"({"type":"object"})" : spec.text;
  GRAFT_TRY(Schema schema, read_schema(text, limits));
  return Prepared{std::move(schema.for_grammar), std::move(schema.strings), SchemaValidator(std::move(schema.root))};
}

xgrammar::Grammar grammar_of(GrammarKind kind, const Prepared& prepared) {
  if (kind == GrammarKind::kRegex) return xgrammar::Grammar::FromRegex(prepared.text);
  if (kind == GrammarKind::kEbnf) return xgrammar::Grammar::FromEBNF(prepared.text);
  const auto grammar =
      xgrammar::Grammar::FromJSONSchema(prepared.text, true, std::nullopt, std::nullopt, true, kMostWhiteSpace);
  return xgrammar::Grammar::FromEBNF(prepared.strings.insert(grammar.ToString()));
}

const char* name_of(GrammarKind kind) {
  switch (kind) {
    case GrammarKind::kJsonObject:
    case GrammarKind::kJsonSchema:
      return "the schema";
    case GrammarKind::kRegex:
      return "the regular expression";
    case GrammarKind::kEbnf:
      return "the grammar";
  }
  return "the grammar";
}

}  // namespace

Result<std::shared_ptr<const Grammar>> compile(const GrammarSpec& spec,
                                               const std::shared_ptr<const Vocabulary>& vocabulary,
                                               const GrammarLimits& limits) {
  const std::string name = name_of(spec.kind);
  if (spec.text.size() > limits.text_bytes) {
    return invalid(name + " has " + std::to_string(spec.text.size()) + " bytes, at most " +
                   std::to_string(limits.text_bytes) + " are allowed");
  }
  if (!vocabulary->has_end()) return unsupported("this model has no end token, which constrained output needs");
  GRAFT_TRY(Prepared prepared, prepare(spec, limits));
  GRAFT_TRY(auto compiled, guarded(name, [&] {
              const WorkBudget budget(limits.compile_time);
              xgrammar::GrammarCompiler compiler(vocabulary->info(), 1, false);
              return compiler.CompileGrammar(grammar_of(spec.kind, prepared));
            }));
  if (static_cast<int64_t>(compiled.MemorySizeBytes()) > limits.grammar_bytes) {
    return invalid(name + " needs " + std::to_string(compiled.MemorySizeBytes() >> 20) + " MiB compiled, at most " +
                   std::to_string(limits.grammar_bytes >> 20) + " are allowed: simplify it");
  }
  return std::shared_ptr<const Grammar>(
      std::make_shared<GrammarImpl>(vocabulary, std::move(compiled), std::move(prepared.validator), limits));
}

}  // namespace graft::grammar
