#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/byte_stream.h"

namespace graft::formats {

// A set of bytes.
class ByteSet {
 public:
  explicit ByteSet(std::string_view bytes) {
    for (const char c : bytes) in_[static_cast<unsigned char>(c)] = true;
  }
  [[nodiscard]] bool has(char c) const { return in_[static_cast<unsigned char>(c)]; }

 private:
  std::array<bool, 256> in_{};
};

// The text of a file, one byte at a time or in runs, with the line it is on. Used by the dataset readers.
class ByteSource {
 public:
  static constexpr int kEnd = -1;

  static Result<ByteSource> open(const std::filesystem::path& path);  // see open_text_stream
  // `path` is only what errors name.
  ByteSource(std::filesystem::path path, std::unique_ptr<ByteStream> stream)
      : path_(std::move(path)), stream_(std::move(stream)) {}

  // The next byte (0..255) without or with taking it; kEnd at the end of the file or after a read error.
  int peek() { return position_ < size_ || refill() ? static_cast<unsigned char>(buffer_[position_]) : kEnd; }
  int take() {
    const int byte = peek();
    if (byte != kEnd) ++position_;
    if (byte == '\n') ++line_;
    return byte;
  }

  // Takes and appends bytes up to one of `stop`, the end of the file, or until `limit` bytes were taken. True where
  // the limit ended it.
  bool take_until(const ByteSet& stop, std::string& out, size_t limit);

  [[nodiscard]] int64_t line() const { return line_; }              // of the next byte, from 1
  [[nodiscard]] const Status& status() const { return status_; }    // a read error, if there was one
  [[nodiscard]] Status status_at(const std::string& place) const {  // the same with the place in front
    return status_.ok() ? Status() : Status(at(place, status_.error()));
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  bool refill();

  std::filesystem::path path_;
  std::unique_ptr<ByteStream> stream_;
  std::string buffer_;
  size_t position_ = 0;
  size_t size_ = 0;
  int64_t line_ = 1;
  Status status_;
};

}  // namespace graft::formats
