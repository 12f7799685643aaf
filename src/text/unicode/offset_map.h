#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace graft::text {

// Where the bytes of a rewritten text come from. Most rewriting leaves most bytes alone, so only the places that
// changed are kept: bytes [out_begin, out_end) of the new text stand for [in_begin, in_end) of the old one.
class OffsetMap {
 public:
  // In order of the text; the bytes between two calls are taken to be unchanged.
  void replaced(size_t out_begin, size_t out_end, size_t in_begin, size_t in_end);

  // The bytes of the old text that [begin, end) of the new one come from.
  [[nodiscard]] std::pair<size_t, size_t> source(size_t begin, size_t end) const;
  [[nodiscard]] bool identity() const { return edits_.empty(); }

 private:
  struct Edit {
    size_t out_begin, out_end, in_begin, in_end;
  };
  std::vector<Edit> edits_;
};

}  // namespace graft::text
