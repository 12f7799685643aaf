#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

// Zip archives (PKWARE's APPNOTE.TXT 6.3.10, ZIP64 included) in memory: PyTorch checkpoints and xlsx workbooks.
namespace graft::formats {

// A file in an archive. Does not own its bytes: whoever mapped the archive does.
struct ZipEntry {
  std::string name;
  uint16_t method = 0;              // 0: stored, 8: deflated; others are listed, but cannot be read
  uint64_t size = 0;                // of the content
  uint32_t crc32 = 0;               // of the content
  std::span<const std::byte> data;  // as it lies in the archive: the content itself where it is stored

  [[nodiscard]] bool stored() const { return method == 0; }
};

// The central directory decides. Strict: it ends where its end record begins, which ends the file; every entry's local
// header agrees with it; no two entries share a name or a byte; sizes are possible (deflate shrinks at most 1032-fold).
// Encrypted and multi-part archives are refused. Entries whose names end in '/' are directories and left out.
class ZipArchive {
 public:
  static Result<ZipArchive> parse(std::span<const std::byte> file);

  [[nodiscard]] const std::vector<ZipEntry>& entries() const { return entries_; }  // in the directory's order
  [[nodiscard]] const ZipEntry* find(std::string_view name) const;                 // null where there is none

 private:
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

// The content of an entry in pieces, in bounded memory. The last piece is checked against the size and the checksum.
class ZipEntryReader {
 public:
  static Result<ZipEntryReader> open(const ZipEntry& entry);
  ZipEntryReader(ZipEntryReader&&) noexcept;
  ZipEntryReader& operator=(ZipEntryReader&&) noexcept;
  ~ZipEntryReader();

  // Fills `out` as far as there is content left; 0 at the end.
  Result<size_t> read(std::span<std::byte> out);

 private:
  struct Inflater;
  explicit ZipEntryReader(const ZipEntry& entry);
  Result<size_t> inflate_into(std::span<std::byte> out);
  Status check_end() const;

  ZipEntry entry_;
  std::unique_ptr<Inflater> inflater_;  // null for a stored entry
  uint64_t produced_ = 0;
  uint32_t crc32_ = 0;
};

// The whole content; refused where it is larger than `limit` bytes.
Result<std::string> read_zip_entry(const ZipEntry& entry, uint64_t limit);

}  // namespace graft::formats
