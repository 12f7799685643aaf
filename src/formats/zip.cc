#include "formats/zip.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "base/utf8.h"

namespace graft::formats {
namespace {

using Bytes = std::span<const std::byte>;

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kDirectorySignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalBytes = 30;
constexpr size_t kDirectoryBytes = 46;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocator64Bytes = 20;
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
constexpr uint16_t kZip64Extra = 1;

// The caller has checked that the bytes are there.
template <class T>
T load(Bytes bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

bool has_signature(Bytes bytes, size_t offset, uint32_t signature) {
  return offset <= bytes.size() && bytes.size() - offset >= 4 && load<uint32_t>(bytes, offset) == signature;
}

// Where the central directory is.
struct Directory {
  uint64_t entries = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// The end record is the last thing in the file but for a comment whose length it states.
std::optional<size_t> find_end_record(Bytes file) {
  if (file.size() < kEndBytes) return std::nullopt;
  const size_t last = file.size() - kEndBytes;
  const size_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (size_t at = last + 1; at-- > first;) {
    if (has_signature(file, at, kEndSignature) && load<uint16_t>(file, at + 20) == last - at) return at;
  }
  return std::nullopt;
}

// ZIP64's end record lies before its locator, which lies before the ordinary end record.
Result<Directory> read_end64(Bytes file, size_t locator) {
  const auto at = load<uint64_t>(file, locator + 8);
  if (load<uint32_t>(file, locator + 4) != 0 || load<uint32_t>(file, locator + 16) > 1) {
    return unsupported("the zip archive has several parts");
  }
  if (at > locator || locator - at < kEnd64Bytes || !has_signature(file, at, kEnd64Signature)) {
    return invalid("the zip archive's ZIP64 end record is not where its locator says");
  }
  const auto size = load<uint64_t>(file, at + 4);
  if (size != locator - at - 12) return invalid("the zip archive's ZIP64 end record is of a wrong size");
  if (load<uint32_t>(file, at + 16) != 0 || load<uint32_t>(file, at + 20) != 0) {
    return unsupported("the zip archive has several parts");
  }
  Directory directory;
  directory.entries = load<uint64_t>(file, at + 32);
  const auto bytes = load<uint64_t>(file, at + 40);
  directory.begin = load<uint64_t>(file, at + 48);
  if (__builtin_add_overflow(directory.begin, bytes, &directory.end) || directory.end != at) {
    return invalid("the zip archive's directory does not end where its end record begins");
  }
  return directory;
}

Result<Directory> find_directory(Bytes file) {
  const auto end = find_end_record(file);
  if (!end) return invalid("not a zip archive, or cut short: its end record is missing");
  const bool has_locator = *end >= kLocator64Bytes && has_signature(file, *end - kLocator64Bytes, kLocator64Signature);
  if (has_locator) return read_end64(file, *end - kLocator64Bytes);
  if (load<uint16_t>(file, *end + 4) != 0 || load<uint16_t>(file, *end + 6) != 0) {
    return unsupported("the zip archive has several parts");
  }
  Directory directory;
  directory.entries = load<uint16_t>(file, *end + 10);
  directory.begin = load<uint32_t>(file, *end + 16);
  directory.end = directory.begin + load<uint32_t>(file, *end + 12);
  if (directory.end != *end) return invalid("the zip archive's directory does not end where its end record begins");
  return directory;
}

struct Placed {
  ZipEntry entry;
  uint64_t compressed = 0;
  uint64_t local = 0;  // offset of the local header
  uint64_t begin = 0;  // of the data
};

// The fields that do not fit 32 bits are in the ZIP64 extra field, in this order, only those that are needed.
Status read_zip64(Bytes extra, Placed& placed, const std::string& place) {
  constexpr uint32_t kInExtra = 0xFFFFFFFF;
  const bool wanted = placed.entry.size == kInExtra || placed.compressed == kInExtra || placed.local == kInExtra;
  if (!wanted) return {};
  for (size_t at = 0; extra.size() - at >= 4;) {
    const auto kind = load<uint16_t>(extra, at);
    const size_t length = load<uint16_t>(extra, at + 2);
    at += 4;
    if (length > extra.size() - at) break;
    if (kind != kZip64Extra) {
      at += length;
      continue;
    }
    Bytes fields = extra.subspan(at, length);
    for (uint64_t* value : {&placed.entry.size, &placed.compressed, &placed.local}) {
      if (*value != kInExtra) continue;
      if (fields.size() < sizeof(uint64_t)) return invalid(place + ": its ZIP64 field is too short");
      *value = load<uint64_t>(fields, 0);
      fields = fields.subspan(sizeof(uint64_t));
    }
    return {};
  }
  return invalid(place + ": its ZIP64 field is missing");
}

// A file with a declared size that no compressor could reach is a trap for whoever allocates by it.
Status check_sizes(const Placed& placed, const std::string& place) {
  if (placed.entry.method == kStored && placed.compressed != placed.entry.size) {
    return invalid(place + ": a stored file whose two sizes differ");
  }
  constexpr uint64_t kHighestRatio = 1032;
  if (placed.entry.method == kDeflated && placed.entry.size / kHighestRatio > placed.compressed) {
    return invalid(place + ": its declared size is more than its data can hold");
  }
  return {};
}

// Reads one record at `at` and moves `at` behind it.
Result<Placed> read_record(Bytes file, uint64_t& at, const Directory& directory, uint64_t number) {
  const std::string place = "entry " + std::to_string(number) + " of the zip archive";
  if (directory.end - at < kDirectoryBytes || !has_signature(file, at, kDirectorySignature)) {
    return invalid(place + " is not where the directory should have it");
  }
  const size_t name_bytes = load<uint16_t>(file, at + 28);
  const size_t extra_bytes = load<uint16_t>(file, at + 30);
  const size_t comment_bytes = load<uint16_t>(file, at + 32);
  if (directory.end - at - kDirectoryBytes < name_bytes + extra_bytes + comment_bytes) {
    return invalid(place + " is longer than the directory");
  }
  Placed placed;
  placed.entry.name.assign(reinterpret_cast<const char*>(file.data()) + at + kDirectoryBytes, name_bytes);
  const std::string named = "'" + printable(placed.entry.name) + "' in the zip archive";
  if (!is_valid_utf8(placed.entry.name)) return invalid(named + ": its name is not valid UTF-8");
  if ((load<uint16_t>(file, at + 8) & kEncrypted) != 0) return unsupported(named + " is encrypted");
  if (load<uint16_t>(file, at + 34) != 0) return unsupported(named + " lies in another part of the archive");
  placed.entry.method = load<uint16_t>(file, at + 10);
  placed.entry.crc32 = load<uint32_t>(file, at + 16);
  placed.compressed = load<uint32_t>(file, at + 20);
  placed.entry.size = load<uint32_t>(file, at + 24);
  placed.local = load<uint32_t>(file, at + 42);
  GRAFT_CHECK_OK(read_zip64(file.subspan(at + kDirectoryBytes + name_bytes, extra_bytes), placed, named));
  GRAFT_CHECK_OK(check_sizes(placed, named));
  at += kDirectoryBytes + name_bytes + extra_bytes + comment_bytes;
  return placed;
}

// Finds the data behind the local header, which repeats the name. Its sizes may be zero (they follow the data then).
Status locate(Bytes file, const Directory& directory, Placed& placed) {
  const std::string place = "'" + printable(placed.entry.name) + "' in the zip archive";
  const Error outside = invalid(place + ": its data is not inside the file");
  if (placed.local > directory.begin || directory.begin - placed.local < kLocalBytes) return outside;
  if (!has_signature(file, placed.local, kLocalSignature)) return invalid(place + ": its local header is missing");
  const size_t name_bytes = load<uint16_t>(file, placed.local + 26);
  const size_t extra_bytes = load<uint16_t>(file, placed.local + 28);
  placed.begin = placed.local + kLocalBytes + name_bytes + extra_bytes;
  if (placed.begin > directory.begin || placed.compressed > directory.begin - placed.begin) return outside;
  const auto* name = reinterpret_cast<const char*>(file.data()) + placed.local + kLocalBytes;
  if (std::string_view(name, name_bytes) != placed.entry.name ||
      load<uint16_t>(file, placed.local + 8) != placed.entry.method) {
    return invalid(place + ": its local header names another file");
  }
  placed.entry.data = file.subspan(placed.begin, placed.compressed);
  return {};
}

Status check_no_overlap(const std::vector<Placed>& entries) {
  std::vector<const Placed*> sorted;
  sorted.reserve(entries.size());
  for (const Placed& placed : entries) sorted.push_back(&placed);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->local < b->local; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->begin + sorted[i - 1]->compressed <= sorted[i]->local) continue;
    return invalid("'" + printable(sorted[i - 1]->entry.name) + "' and '" + printable(sorted[i]->entry.name) +
                   "' overlap in the zip archive");
  }
  return {};
}

}  // namespace

Result<ZipArchive> ZipArchive::parse(Bytes file) {
  GRAFT_TRY(const Directory directory, find_directory(file));
  if (directory.begin > directory.end || directory.entries > (directory.end - directory.begin) / kDirectoryBytes) {
    return invalid("the zip archive's directory cannot hold " + std::to_string(directory.entries) + " entries");
  }
  std::vector<Placed> placed;
  uint64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    GRAFT_TRY(Placed entry, read_record(file, at, directory, i));
    GRAFT_CHECK_OK(locate(file, directory, entry));
    placed.push_back(std::move(entry));
  }
  if (at != directory.end) return invalid("the zip archive's directory holds more than its entries");
  GRAFT_CHECK_OK(check_no_overlap(placed));
  ZipArchive archive;
  for (Placed& entry : placed) {
    if (entry.entry.name.ends_with('/')) continue;
    if (!archive.index_.emplace(entry.entry.name, archive.entries_.size()).second) {
      return invalid("'" + printable(entry.entry.name) + "' is in the zip archive twice");
    }
    archive.entries_.push_back(std::move(entry.entry));
  }
  return archive;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

}  // namespace graft::formats
