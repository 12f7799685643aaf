#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace graft::text {

// Where the bytes of a rewritten text come from, as the package `tokenizers` counts it: every new character belongs to
// one stretch of the old text, usually one character of it, and old characters that were dropped belong to none. Most
// rewriting leaves most bytes alone, so only the places that changed are kept.
//
// Questions are quickest in the order of the text: each starts looking where the last one ended. So a map serves one
// thread.
class OffsetMap {
 public:
  // Bytes [out_begin, out_end) of the new text belong to [in_begin, in_end) of the old one, and what follows is the
  // old text from `resume` on, unchanged up to the next call. In the order of the new text.
  void replaced(size_t out_begin, size_t out_end, size_t in_begin, size_t in_end, size_t resume);
  // The same, where the old text goes on behind the stretch that was replaced.
  void replaced(size_t out_begin, size_t out_end, size_t in_begin, size_t in_end) {
    replaced(out_begin, out_end, in_begin, in_end, in_end);
  }

  // The bytes of the old text that [begin, end) of the new one belong to: from where its first byte's stretch begins
  // to where its last byte's ends. Nothing but an empty stretch can be empty.
  [[nodiscard]] std::pair<size_t, size_t> source(size_t begin, size_t end) const;
  [[nodiscard]] size_t begin_of(size_t byte) const;
  [[nodiscard]] size_t end_of(size_t byte) const;
  [[nodiscard]] bool identity() const { return edits_.empty(); }

 private:
  struct Edit {
    size_t out_begin, out_end, in_begin, in_end, resume;
  };
  // The last edit that starts at or before this byte of the new text; nullptr where there is none.
  [[nodiscard]] const Edit* edit_at(size_t byte) const;
  std::vector<Edit> edits_;
  mutable size_t cursor_ = 0;  // an index near the last answer
};

// A text and the rewritings it went through, oldest first: where bytes of the newest form come from in the oldest.
class OffsetMaps {
 public:
  void push(OffsetMap map) {
    if (!map.identity()) maps_.push_back(std::move(map));
  }
  [[nodiscard]] bool empty() const { return maps_.empty(); }
  [[nodiscard]] size_t begin_of(size_t byte) const;
  [[nodiscard]] size_t end_of(size_t byte) const;

 private:
  std::vector<OffsetMap> maps_;
};

}  // namespace graft::text
