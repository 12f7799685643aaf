#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace graft::formats {

// Bytes in order. Errors do not name the file: who reads knows it, and the row.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `size` (at least 1) bytes into `data`, at least one unless at the end: then 0. After an error, stop.
  virtual Result<size_t> read(char* data, size_t size) = 0;
};

Result<std::unique_ptr<ByteStream>> open_file_stream(const std::filesystem::path& path);
std::unique_ptr<ByteStream> make_memory_stream(std::string bytes);

// What a .gz (RFC 1952, several members one after the other) or .zst file (RFC 8878, several frames) unpacks to. Holds
// one window: 128 MiB at most, what zstd itself allows by default. Data that ends early is an error.
std::unique_ptr<ByteStream> make_gzip_stream(std::unique_ptr<ByteStream> packed);
Result<std::unique_ptr<ByteStream>> make_zstd_stream(std::unique_ptr<ByteStream> packed);

// UTF-8 without its byte order mark, from UTF-8 with or without one, or from UTF-16 of either byte order with one.
// UTF-8 passes unchecked. UTF-32, and text that looks like UTF-16 without a mark, are errors that say how to convert.
Result<std::unique_ptr<ByteStream>> make_utf8_stream(std::unique_ptr<ByteStream> text);

// A text file as UTF-8: unpacked where its name ends in .gz, .zst or .zstd.
Result<std::unique_ptr<ByteStream>> open_text_stream(const std::filesystem::path& path);

// The file's name in lower case without .gz, .zst or .zstd, and whether there was one.
struct PackedName {
  std::string name;
  enum class Packing { kNone, kGzip, kZstd } packing = Packing::kNone;
};
PackedName packed_name(const std::filesystem::path& path);

}  // namespace graft::formats
