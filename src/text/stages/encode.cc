#include <algorithm>

#include "base/utf8.h"
#include "text/stages/pipeline.h"
#include "text/stages/source.h"
#include "text/unicode/lossy_utf8.h"

namespace graft::text {
namespace {

// Ranges in order and merged, so that one binary search answers.
class Protection {
 public:
  explicit Protection(std::span<const ByteRange> ranges) {
    for (const ByteRange& range : ranges) {
      if (range.first < range.second) ranges_.push_back(range);
    }
    std::sort(ranges_.begin(), ranges_.end());
    size_t kept = 0;
    for (size_t i = 1; i < ranges_.size(); ++i) {
      if (ranges_[i].first <= ranges_[kept].second) {
        ranges_[kept].second = std::max(ranges_[kept].second, ranges_[i].second);
      } else {
        ranges_[++kept] = ranges_[i];
      }
    }
    if (!ranges_.empty()) ranges_.resize(kept + 1);
  }

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] bool overlaps(const ByteRange& range) const {
    const auto next = std::partition_point(ranges_.begin(), ranges_.end(),
                                           [&](const ByteRange& other) { return other.second <= range.first; });
    return next != ranges_.end() && next->first < range.second;
  }

 private:
  std::vector<ByteRange> ranges_;
};

class Encoder {
 public:
  Encoder(const Pipeline& pipeline, std::span<const ByteRange> protected_ranges)
      : pipeline_(pipeline), protection_(protected_ranges) {}

  std::vector<EncodedToken> run(std::string_view input) {
    Source source(input.size());
    if (is_valid_utf8(input)) {
      raw_text(input, source);
    } else {
      OffsetMap map;
      const std::string clean = lossy_utf8(input, &map);
      source.maps.push(std::move(map));
      raw_text(clean, source);
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] AddedTokens::IsProtected protection_in(const Source& source, size_t size) const {
    if (protection_.empty()) return {};
    return [this, &source, size](size_t begin, size_t end) {
      return protection_.overlaps(source.extent(begin, end, size));
    };
  }

  void raw_text(std::string_view text, const Source& source) {
    for (const TextSegment& segment : pipeline_.added.split_raw(text, protection_in(source, text.size()))) {
      if (segment.id >= 0) {
        out_.push_back({segment.id, source(segment.begin, segment.end)});
      } else {
        between_raw_tokens(text.substr(segment.begin, segment.end - segment.begin),
                           Source(source, segment.begin, segment.end, text.size()));
      }
    }
  }

  void between_raw_tokens(std::string_view text, Source source) {
    if (pipeline_.normalizer == nullptr || !pipeline_.normalizer->may_change(text)) {
      return normalized_text(text, source);
    }
    const std::string normalized = pipeline_.normalizer->normalize(text, &source.maps);
    normalized_text(normalized, source);
  }

  void normalized_text(std::string_view text, const Source& source) {
    if (!pipeline_.added.has_normalized()) return words(text, source);
    for (const TextSegment& segment : pipeline_.added.split_normalized(text, protection_in(source, text.size()))) {
      if (segment.id >= 0) {
        out_.push_back({segment.id, source(segment.begin, segment.end)});
      } else {
        words(text.substr(segment.begin, segment.end - segment.begin),
              Source(source, segment.begin, segment.end, text.size()));
      }
    }
  }

  void words(std::string_view text, const Source& source) {
    PreTokenized pre(text, source);
    if (pipeline_.pre_tokenizer != nullptr) pipeline_.pre_tokenizer->apply(pre);
    if (!pipeline_.model->reads_bytes()) static_cast<void>(pre.text());
    const std::string_view model_text = pre.model_text();
    for (const Piece& piece : pre.pieces()) {
      tokens_.clear();
      pipeline_.model->tokenize(model_text.substr(piece.begin, piece.end - piece.begin), pre.byte_level(), tokens_);
      size_t at = piece.begin;
      for (const ModelToken& token : tokens_) {
        out_.push_back({token.id, range_of(pre, piece, at, at + token.bytes())});
        if (!token.is_shared()) at += token.bytes();
      }
    }
  }

  // A model may count more bytes than the word has, where it spells characters with more. (`tokenizers` reports useless
  // places then.)
  static ByteRange range_of(const PreTokenized& pre, const Piece& piece, size_t begin, size_t end) {
    begin = std::min(begin, piece.end - 1);
    return pre.source(begin, std::min(end, piece.end));
  }

  const Pipeline& pipeline_;
  Protection protection_;
  std::vector<EncodedToken> out_;
  std::vector<ModelToken> tokens_;  // of one word; kept for its memory
};

}  // namespace

std::vector<EncodedToken> encode(const Pipeline& pipeline, std::string_view input,
                                 std::span<const ByteRange> protected_ranges) {
  return Encoder(pipeline, protected_ranges).run(input);
}

}  // namespace graft::text
