#include "text/jinja/marked_text.h"

#include <algorithm>

#include "text/unicode/code_points.h"

namespace graft::text::jinja {

MarkedText::MarkedText(std::string bytes, bool marked) : bytes_(std::move(bytes)) {
  if (marked) mark(0, bytes_.size());
}

void MarkedText::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!marks_.empty() && marks_.back().end == begin) {
    marks_.back().end = end;
  } else {
    marks_.push_back({begin, end});
  }
}

void MarkedText::append(std::string_view bytes, bool marked) {
  const size_t begin = bytes_.size();
  bytes_ += bytes;
  if (marked) mark(begin, bytes_.size());
}

void MarkedText::append(const MarkedText& other) { append_slice(other, 0, other.size()); }

void MarkedText::append_slice(const MarkedText& other, size_t begin, size_t end) {
  const size_t shift = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  auto next =
      std::partition_point(other.marks_.begin(), other.marks_.end(), [&](const Mark& m) { return m.end <= begin; });
  for (; next != other.marks_.end() && next->begin < end; ++next) {
    mark(shift + std::max(next->begin, begin) - begin, shift + std::min(next->end, end) - begin);
  }
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText part;
  part.append_slice(*this, begin, end);
  return part;
}

MarkedText MarkedText::map_characters(const std::function<void(char32_t, std::string&)>& rewrite) const {
  MarkedText mapped;
  mapped.bytes_.reserve(bytes_.size());
  auto next = marks_.begin();
  for (size_t i = 0; i < bytes_.size();) {
    const CodePoint c = code_point_at(bytes_, i);
    while (next != marks_.end() && next->end <= i) ++next;
    const bool marked = next != marks_.end() && next->begin <= i;
    const size_t begin = mapped.bytes_.size();
    rewrite(c.value, mapped.bytes_);
    if (marked) mapped.mark(begin, mapped.bytes_.size());
    i += c.size;
  }
  return mapped;
}

}  // namespace graft::text::jinja
