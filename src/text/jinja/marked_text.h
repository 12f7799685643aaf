#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

struct Mark {
  size_t begin = 0;
  size_t end = 0;
};

// Marks are sorted, disjoint, not adjacent and not empty.
using Marks = std::vector<Mark>;

// UTF-8 that knows two things about each of its bytes: whether it came from a user (from messages, tools or documents
// rather than from the template), and whether a {% generation %} block printed it. Both follow the bytes through
// whatever is done to the text.
class MarkedText {
 public:
  MarkedText() = default;
  explicit MarkedText(std::string bytes, bool marked = false);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] const Marks& marks() const { return marks_; }          // from a user
  [[nodiscard]] const Marks& generated() const { return generated_; }  // printed inside {% generation %}
  void set_generated() {
    generated_.clear();
    add_mark(generated_, 0, bytes_.size());
  }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  // Set by the filter `safe`: Jinja then escapes what is joined to it with +. Whatever is made of the text is plain
  // again.
  [[nodiscard]] bool safe() const { return safe_; }
  void set_safe() { safe_ = true; }

  void append(const MarkedText& other);
  void append(std::string_view bytes, bool marked = false);
  // As other.slice(begin, end), appended.
  void append_slice(const MarkedText& other, size_t begin, size_t end);
  [[nodiscard]] MarkedText slice(size_t begin, size_t end) const;

  // The text with every character replaced by what `rewrite` appends for it; replacements keep their character's mark.
  [[nodiscard]] MarkedText map_characters(const std::function<void(char32_t c, std::string& out)>& rewrite) const;

 private:
  static void add_mark(Marks& marks, size_t begin, size_t end);
  // What `from` says of [begin, end), moved so that `begin` becomes `to`.
  static void copy_marks(const Marks& from, size_t begin, size_t end, Marks& marks, size_t to);
  std::string bytes_;
  Marks marks_;
  Marks generated_;
  bool safe_ = false;
};

}  // namespace graft::text::jinja
