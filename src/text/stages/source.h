#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "text/unicode/offset_map.h"

namespace graft::text {

using ByteRange = std::pair<size_t, size_t>;  // begin, end

// Where the bytes of a part of the input, as rewritten so far, come from: through the part's own rewritings, then those
// of the part that it was cut out of, and so on. The parent must outlive it. For one thread, as OffsetMap is.
class Source {
 public:
  // The whole input.
  explicit Source(size_t input_size) : limit_(input_size) {}
  // Bytes [begin, end) of the parent, which has `parent_size`.
  Source(const Source& parent, size_t begin, size_t end, size_t parent_size)
      : parent_(&parent), shift_(begin), limit_(end < parent_size ? parent.begin_of(end) : parent.limit_) {}

  OffsetMaps maps;  // of this part

  // What [begin, end) belongs to, as the package `tokenizers` counts it.
  [[nodiscard]] ByteRange operator()(size_t begin, size_t end) const {
    if (begin >= end) return {begin_of(begin), begin_of(begin)};
    return {begin_of(begin), end_of(end - 1)};
  }
  // All that may have gone into [begin, end) of a text of `size` bytes: characters that were dropped, or composed with
  // those before them, too.
  [[nodiscard]] ByteRange extent(size_t begin, size_t end, size_t size) const {
    const size_t next = end < size ? begin_of(end) : limit_;
    return {begin_of(begin), begin < end ? std::max(end_of(end - 1), next) : next};
  }

  // How far this part lies from the input's begin, where nothing on the way there was rewritten.
  [[nodiscard]] std::optional<size_t> plain_shift() const {
    if (!maps.empty()) return std::nullopt;
    if (parent_ == nullptr) return shift_;
    const auto above = parent_->plain_shift();
    return above.has_value() ? std::optional(*above + shift_) : std::nullopt;
  }

  [[nodiscard]] size_t begin_of(size_t byte) const {
    const size_t own = maps.begin_of(byte) + shift_;
    return parent_ != nullptr ? parent_->begin_of(own) : own;
  }
  [[nodiscard]] size_t end_of(size_t byte) const {
    const size_t own = maps.end_of(byte) + shift_;
    if (parent_ == nullptr) return own;
    return own == shift_ ? parent_->begin_of(own) : parent_->end_of(own - 1);  // nothing, or a character
  }

 private:
  const Source* parent_ = nullptr;
  size_t shift_ = 0;  // where this part begins in its parent
  size_t limit_ = 0;  // where it ends in the input
};

}  // namespace graft::text
