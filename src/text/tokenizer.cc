#include "text/tokenizer.h"

#include "text/stages/pipeline.h"

namespace graft::text {

struct Tokenizer::Impl {
  std::unique_ptr<Pipeline> pipeline;
  TokenizerOptions options;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json,
                                                        const TokenizerOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  GRAFT_TRY(impl->pipeline, Pipeline::from_json(tokenizer_json));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options,
                           std::span<const ProtectedSpan> protected_spans) const {
  std::vector<ByteRange> ranges;
  ranges.reserve(protected_spans.size());
  for (const ProtectedSpan& span : protected_spans) ranges.emplace_back(span.begin, span.end);
  const Pipeline& pipeline = *impl_->pipeline;
  std::vector<EncodedToken> tokens = text::encode(pipeline, text, ranges);
  if (pipeline.post_processor != nullptr) {
    PostProcessed processed{.tokens = std::move(tokens),
                            .input = text,
                            .spelling = [&](int32_t id) { return pipeline.token(id); },
                            .add_special_tokens = options.add_special_tokens};
    pipeline.post_processor->apply(processed);
    tokens = std::move(processed.tokens);
  }

  Encoding encoding;
  encoding.ids.reserve(tokens.size());
  encoding.offsets.reserve(tokens.size());
  for (const EncodedToken& token : tokens) {
    encoding.ids.push_back(token.id);
    encoding.offsets.push_back(token.range);
  }
  return encoding;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens,
                              std::optional<bool> clean_up_spaces) const {
  IncrementalDetokenizer stream(*this, skip_special_tokens, clean_up_spaces);
  std::string text;
  for (const int32_t id : ids) stream.append(id, text);
  text += stream.finish();
  return text;
}

int32_t Tokenizer::vocab_size() const { return impl_->pipeline->id_limit; }

std::string Tokenizer::id_to_token(int32_t id) const { return std::string(impl_->pipeline->token(id)); }

int32_t Tokenizer::token_to_id(std::string_view token) const {
  const AddedToken* added = impl_->pipeline->added.by_content(token);
  return added != nullptr ? added->id : impl_->pipeline->model->token_to_id(token);
}

bool Tokenizer::is_special(int32_t id) const { return impl_->pipeline->is_special(id); }

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens,
                                               std::optional<bool> clean_up_spaces)
    : tokenizer_(&tokenizer),
      skip_special_tokens_(skip_special_tokens),
      stream_(tokenizer.impl_->pipeline->decoder->stream(
          clean_up_spaces.value_or(tokenizer.impl_->options.clean_up_spaces))) {}
IncrementalDetokenizer::~IncrementalDetokenizer() = default;
IncrementalDetokenizer::IncrementalDetokenizer(IncrementalDetokenizer&&) noexcept = default;
IncrementalDetokenizer& IncrementalDetokenizer::operator=(IncrementalDetokenizer&&) noexcept = default;

void IncrementalDetokenizer::append(int32_t id, std::string& text) {
  const Pipeline& pipeline = *tokenizer_->impl_->pipeline;
  if (skip_special_tokens_ && pipeline.is_special(id)) return;
  // Unknown ids have no token: decoding leaves them out.
  if (const std::string_view token = pipeline.token(id); !token.empty()) stream_->push(token, text);
}

std::string IncrementalDetokenizer::push(int32_t id) {
  std::string text;
  append(id, text);
  return text;
}

std::string IncrementalDetokenizer::finish() {
  std::string text;
  stream_->finish(text);
  return text;
}

}  // namespace graft::text
