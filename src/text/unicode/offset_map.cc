#include "text/unicode/offset_map.h"

namespace graft::text {
namespace {

constexpr size_t kNear = 16;  // edits to walk past before a binary search

}  // namespace

void OffsetMap::replaced(size_t out_begin, size_t out_end, size_t in_begin, size_t in_end, size_t resume) {
  edits_.push_back({out_begin, out_end, in_begin, in_end, resume});
}

const OffsetMap::Edit* OffsetMap::edit_at(size_t byte) const {
  size_t low = 0;
  size_t high = edits_.size();  // the answer is before high, and at low - 1 or behind it
  if (cursor_ < edits_.size() && edits_[cursor_].out_begin <= byte) {
    low = cursor_ + 1;
    for (size_t step = 0; step < kNear; ++step) {
      if (low == edits_.size() || edits_[low].out_begin > byte) return &edits_[cursor_ = low - 1];
      ++low;
    }
  }
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (edits_[middle].out_begin <= byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return nullptr;
  return &edits_[cursor_ = low - 1];
}

size_t OffsetMap::begin_of(size_t byte) const {
  const Edit* edit = edit_at(byte);
  if (edit == nullptr) return byte;
  return byte < edit->out_end ? edit->in_begin : edit->resume + (byte - edit->out_end);
}

size_t OffsetMap::end_of(size_t byte) const {
  const Edit* edit = edit_at(byte);
  if (edit == nullptr) return byte + 1;
  return byte < edit->out_end ? edit->in_end : edit->resume + (byte - edit->out_end) + 1;
}

std::pair<size_t, size_t> OffsetMap::source(size_t begin, size_t end) const {
  if (begin >= end) return {begin_of(begin), begin_of(begin)};
  return {begin_of(begin), end_of(end - 1)};
}

// Only a character put in front of everything belongs to nothing, [0, 0), whatever was done to the text before.
size_t OffsetMaps::begin_of(size_t byte) const {
  for (auto map = maps_.rbegin(); map != maps_.rend(); ++map) {
    if (map->end_of(byte) == 0) return 0;
    byte = map->begin_of(byte);
  }
  return byte;
}

size_t OffsetMaps::end_of(size_t byte) const {
  for (auto map = maps_.rbegin(); map != maps_.rend(); ++map) {
    const size_t end = map->end_of(byte);
    if (end == 0) return 0;
    byte = end - 1;
  }
  return byte + 1;
}

}  // namespace graft::text
