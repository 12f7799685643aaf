#include <algorithm>
#include <cstring>
#include <vector>

#include "base/utf8.h"
#include "formats/byte_stream.h"

namespace graft::formats {
namespace {

constexpr size_t kChunk = size_t{1} << 16;

Error not_utf8(const std::string& what, const std::string& name) {
  return invalid(what + "; convert the file to UTF-8: iconv -f " + name + " -t UTF-8 FILE > NEW_FILE");
}

// Bytes that were read to look at them, then the rest.
class Resumed final : public ByteStream {
 public:
  Resumed(std::string head, std::unique_ptr<ByteStream> rest) : head_(std::move(head)), rest_(std::move(rest)) {}

  Result<size_t> read(char* data, size_t size) override {
    if (position_ == head_.size()) return rest_->read(data, size);
    const size_t taken = std::min(size, head_.size() - position_);
    std::memcpy(data, head_.data() + position_, taken);
    position_ += taken;
    return taken;
  }

 private:
  std::string head_;
  size_t position_ = 0;
  std::unique_ptr<ByteStream> rest_;
};

class Utf16Stream final : public ByteStream {
 public:
  Utf16Stream(std::unique_ptr<ByteStream> bytes, bool big_endian) : bytes_(std::move(bytes)), big_(big_endian) {}

  Result<size_t> read(char* data, size_t size) override {
    if (position_ == text_.size()) {
      GRAFT_CHECK_OK(failed_);
      failed_ = convert();
      if (text_.empty()) GRAFT_CHECK_OK(failed_);  // what stands before the place of an error comes out first
    }
    const size_t taken = std::min(size, text_.size() - position_);
    std::memcpy(data, text_.data() + position_, taken);
    position_ += taken;
    return taken;
  }

 private:
  // Converts a chunk; text_ stays empty at the end.
  Status convert() {
    text_.clear();
    position_ = 0;
    std::vector<char> chunk(kChunk);
    while (text_.empty()) {
      GRAFT_TRY(const size_t got, bytes_->read(chunk.data(), chunk.size()));
      if (got == 0) return at_end();
      for (size_t i = 0; i < got; ++i) GRAFT_CHECK_OK(take(static_cast<unsigned char>(chunk[i])));
    }
    return {};
  }

  Status take(uint32_t byte) {
    ++offset_;
    if (!half_) {
      first_ = byte;
      half_ = true;
      return {};
    }
    half_ = false;
    return unit(big_ ? first_ << 8 | byte : byte << 8 | first_);
  }

  Status unit(uint32_t unit) {
    const bool low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (low != (high_ != 0)) return broken();
    if (low) {
      append_utf8(text_, 0x10000 + ((high_ - 0xD800) << 10) + (unit - 0xDC00));
      high_ = 0;
    } else if (unit >= 0xD800 && unit <= 0xDBFF) {
      high_ = unit;
    } else {
      append_utf8(text_, unit);
    }
    return {};
  }

  Error broken() const {
    return invalid("not valid UTF-16 before byte " + std::to_string(offset_) +
                   " of the file, which its byte order mark promises; export it again as UTF-8");
  }

  Status at_end() const {
    if (half_ || high_ != 0) return broken();
    return {};
  }

  std::unique_ptr<ByteStream> bytes_;
  bool big_;
  bool half_ = false;  // first_ holds the first byte of a unit
  uint32_t first_ = 0;
  uint32_t high_ = 0;   // the first half of a surrogate pair
  int64_t offset_ = 2;  // in the file: the mark is two bytes
  std::string text_;
  size_t position_ = 0;
  Status failed_;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> make_utf8_stream(std::unique_ptr<ByteStream> text) {
  std::string head(4, '\0');
  size_t size = 0;
  while (size < head.size()) {
    GRAFT_TRY(const size_t got, text->read(head.data() + size, head.size() - size));
    if (got == 0) break;
    size += got;
  }
  head.resize(size);
  const auto begins = [&](std::string_view mark) { return head.compare(0, mark.size(), mark) == 0; };
  const auto rest = [&](size_t skip) { return std::make_unique<Resumed>(head.substr(skip), std::move(text)); };
  if (begins(std::string_view("\xFF\xFE\0\0", 4))) return not_utf8("the file is UTF-32", "UTF-32LE");
  if (begins(std::string_view("\0\0\xFE\xFF", 4))) return not_utf8("the file is UTF-32", "UTF-32BE");
  if (begins("\xFF\xFE")) return std::unique_ptr<ByteStream>(std::make_unique<Utf16Stream>(rest(2), false));
  if (begins("\xFE\xFF")) return std::unique_ptr<ByteStream>(std::make_unique<Utf16Stream>(rest(2), true));
  if (size >= 2 && (head[0] == '\0') != (head[1] == '\0')) {
    return not_utf8("the file looks like UTF-16 without a byte order mark", head[0] == '\0' ? "UTF-16BE" : "UTF-16LE");
  }
  return std::unique_ptr<ByteStream>(rest(begins("\xEF\xBB\xBF") ? 3 : 0));
}

}  // namespace graft::formats
