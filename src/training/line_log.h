#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace graft::training {

// An append-only file of lines. A line is there whole or not at all: where the disk is full, the part that was
// written is cut off again, and what a crash left of a last line is cut off at the next open.
class LineLog {
 public:
  static Result<LineLog> open(std::filesystem::path path);  // creates the file
  LineLog(LineLog&& other) noexcept;
  LineLog& operator=(LineLog&& other) noexcept;
  ~LineLog();

  // `line` without its line end. In the hands of the operating system when this returns: a dying process loses
  // nothing. sync() also survives a power cut.
  Status append(std::string_view line);
  Status sync();

 private:
  LineLog(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace graft::training
