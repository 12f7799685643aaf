#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/result.h"

namespace graft::training {

// A file of TensorBoard events: TFRecord framing (length, masked CRC-32C of it, bytes, masked CRC-32C of them; all
// little-endian) around messages of the protocol buffer tensorboard.Event, of which the few fields used here are
// written by hand: wall_time = 1 (double), step = 2, file_version = 3, summary = 5 {value = 1 {tag = 1, simple_value =
// 2 (float)}}, session_log = 7 {status = 1}.
class EventFile {
 public:
  // A new file in `directory`, whose name sorts behind those that are there.
  static Result<EventFile> create(const fs::path& directory, double time);
  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&&) = delete;
  ~EventFile();

  Status add_scalars(int64_t step, double time, std::span<const std::pair<std::string, double>> scalars);
  // Readers drop what earlier files hold of this step and later ones.
  Status add_restart(int64_t step, double time);

 private:
  EventFile(fs::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  Status append(std::string_view event);

  fs::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace graft::training
