#include "formats/byte_source.h"

#include <algorithm>

namespace graft::formats {

Result<ByteSource> ByteSource::open(const std::filesystem::path& path) {
  GRAFT_TRY(auto stream, open_text_stream(path));
  return ByteSource(path, std::move(stream));
}

bool ByteSource::refill() {
  constexpr size_t kChunk = size_t{1} << 18;
  if (!status_.ok()) return false;
  buffer_.resize(kChunk);
  position_ = 0;
  size_ = 0;
  auto got = stream_->read(buffer_.data(), kChunk);
  if (!got.ok()) {
    status_ = got.error();
    return false;
  }
  size_ = *got;
  return size_ > 0;
}

bool ByteSource::take_until(const ByteSet& stop, std::string& out, size_t limit) {
  while (limit > 0 && peek() != kEnd) {
    const char* first = buffer_.data() + position_;
    const char* last = first + std::min(limit, size_ - position_);
    const char* end = first;
    while (end != last && !stop.has(*end)) ++end;
    const auto taken = static_cast<size_t>(end - first);
    out.append(first, taken);
    line_ += std::count(first, end, '\n');
    position_ += taken;
    limit -= taken;
    if (end != last) return false;
  }
  return limit == 0;
}

}  // namespace graft::formats
