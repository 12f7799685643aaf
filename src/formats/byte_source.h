#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"

namespace graft::formats {

// The bytes of a file one at a time, with the line they are on. Used by the dataset readers.
class ByteSource {
 public:
  static constexpr int kEnd = -1;

  static Result<ByteSource> open(const std::filesystem::path& path);

  // The next byte (0..255) without or with taking it; kEnd at the end of the file or after a read error.
  int peek() { return position_ < size_ || refill() ? static_cast<unsigned char>(buffer_[position_]) : kEnd; }
  int take() {
    const int byte = peek();
    if (byte != kEnd) ++position_;
    if (byte == '\n') ++line_;
    return byte;
  }

  [[nodiscard]] int64_t line() const { return line_; }  // of the next byte, from 1
  [[nodiscard]] Status status() const;                  // a read error, if there was one
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  ByteSource(std::filesystem::path path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  bool refill();
  void skip_byte_order_mark();

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string buffer_;
  size_t position_ = 0;
  size_t size_ = 0;
  int64_t line_ = 1;
  int error_ = 0;
};

}  // namespace graft::formats
