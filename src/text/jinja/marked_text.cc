#include "text/jinja/marked_text.h"

#include <algorithm>

#include "text/unicode/code_points.h"

namespace graft::text::jinja {

MarkedText::MarkedText(std::string bytes, bool marked) : bytes_(std::move(bytes)) {
  if (marked) add_mark(marks_, 0, bytes_.size());
}

void MarkedText::add_mark(Marks& marks, size_t begin, size_t end) {
  if (begin == end) return;
  if (!marks.empty() && marks.back().end == begin) {
    marks.back().end = end;
  } else {
    marks.push_back({begin, end});
  }
}

void MarkedText::copy_marks(const Marks& from, size_t begin, size_t end, Marks& marks, size_t to) {
  auto next = std::partition_point(from.begin(), from.end(), [&](const Mark& m) { return m.end <= begin; });
  for (; next != from.end() && next->begin < end; ++next) {
    add_mark(marks, to + std::max(next->begin, begin) - begin, to + std::min(next->end, end) - begin);
  }
}

void MarkedText::append(std::string_view bytes, bool marked) {
  const size_t begin = bytes_.size();
  bytes_ += bytes;
  if (marked) add_mark(marks_, begin, bytes_.size());
}

void MarkedText::append(const MarkedText& other) { append_slice(other, 0, other.size()); }

void MarkedText::append_slice(const MarkedText& other, size_t begin, size_t end) {
  const size_t shift = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  copy_marks(other.marks_, begin, end, marks_, shift);
  copy_marks(other.generated_, begin, end, generated_, shift);
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText part;
  part.append_slice(*this, begin, end);
  return part;
}

MarkedText MarkedText::map_characters(const std::function<void(char32_t, std::string&)>& rewrite) const {
  struct Layer {
    const Marks& from;
    Marks& to;
    Marks::const_iterator next;
  };
  MarkedText mapped;
  mapped.bytes_.reserve(bytes_.size());
  Layer layers[] = {{marks_, mapped.marks_, marks_.begin()}, {generated_, mapped.generated_, generated_.begin()}};
  for (size_t i = 0; i < bytes_.size();) {
    const CodePoint c = code_point_at(bytes_, i);
    const size_t begin = mapped.bytes_.size();
    rewrite(c.value, mapped.bytes_);
    for (Layer& layer : layers) {
      while (layer.next != layer.from.end() && layer.next->end <= i) ++layer.next;
      if (layer.next != layer.from.end() && layer.next->begin <= i) add_mark(layer.to, begin, mapped.bytes_.size());
    }
    i += c.size;
  }
  return mapped;
}

}  // namespace graft::text::jinja
