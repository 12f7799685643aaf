#include <algorithm>
#include <cstring>
#include <limits>

#define ZLIB_CONST
#include <zlib.h>

#include "base/strings.h"
#include "formats/zip.h"

namespace graft::formats {
namespace {

// zlib counts in 32 bits.
constexpr size_t kMostAtOnce = size_t{1} << 30;

std::string place_of(const ZipEntry& entry) { return "'" + printable(entry.name) + "' in the zip archive"; }

}  // namespace

struct ZipEntryReader::Inflater {
  z_stream stream{};
  size_t consumed = 0;
  bool ready = false;
  bool finished = false;

  Inflater() { ready = inflateInit2(&stream, -MAX_WBITS) == Z_OK; }  // negative: without zlib's own header
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

ZipEntryReader::ZipEntryReader(const ZipEntry& entry) : entry_(entry) {}
ZipEntryReader::ZipEntryReader(ZipEntryReader&&) noexcept = default;
ZipEntryReader& ZipEntryReader::operator=(ZipEntryReader&&) noexcept = default;
ZipEntryReader::~ZipEntryReader() = default;

Result<ZipEntryReader> ZipEntryReader::open(const ZipEntry& entry) {
  ZipEntryReader reader(entry);
  if (entry.stored()) return reader;
  if (entry.method != Z_DEFLATED) {
    return unsupported(place_of(entry) + ": compression method " + std::to_string(entry.method) +
                       " is not supported, only deflate; make the archive again");
  }
  reader.inflater_ = std::make_unique<Inflater>();
  if (!reader.inflater_->ready) return internal_error("zlib cannot be set up: out of memory");
  return reader;
}

Result<size_t> ZipEntryReader::inflate_into(std::span<std::byte> out) {
  Inflater& inflater = *inflater_;
  z_stream& stream = inflater.stream;
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  while (stream.avail_out > 0 && !inflater.finished) {
    const auto left = entry_.data.subspan(inflater.consumed);
    stream.next_in = reinterpret_cast<const Bytef*>(left.data());
    stream.avail_in = static_cast<uInt>(std::min(left.size(), kMostAtOnce));
    const uInt before = stream.avail_in;
    const int status = inflate(&stream, Z_NO_FLUSH);
    inflater.consumed += before - stream.avail_in;
    inflater.finished = status == Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END) return invalid(place_of(entry_) + ": its compressed data is damaged");
  }
  return out.size() - stream.avail_out;
}

Status ZipEntryReader::check_end() const {
  if (produced_ != entry_.size) return invalid(place_of(entry_) + ": its data is shorter than the directory says");
  if (crc32_ != entry_.crc32) return invalid(place_of(entry_) + ": its checksum is wrong; the file is damaged");
  if (inflater_ == nullptr) return {};
  if (!inflater_->finished || inflater_->consumed != entry_.data.size()) {
    return invalid(place_of(entry_) + ": its data is longer than the directory says");
  }
  return {};
}

Result<size_t> ZipEntryReader::read(std::span<std::byte> out) {
  const uint64_t wanted = std::min<uint64_t>({out.size(), entry_.size - produced_, kMostAtOnce});
  size_t got = wanted;
  if (inflater_ != nullptr) {
    GRAFT_TRY(got, inflate_into(out.first(wanted)));
    // At the end room for a byte more than declared, so that the stream's own end is seen, and data beyond it noticed.
    if (produced_ + got == entry_.size && !inflater_->finished) {
      std::byte beyond;
      GRAFT_TRY(const size_t more, inflate_into(std::span(&beyond, 1)));
      if (more > 0) return invalid(place_of(entry_) + ": its data is longer than the directory says");
    }
  } else if (wanted > 0) {
    std::memcpy(out.data(), entry_.data.data() + produced_, wanted);
  }
  if (got > 0) crc32_ = static_cast<uint32_t>(::crc32_z(crc32_, reinterpret_cast<const Bytef*>(out.data()), got));
  produced_ += got;
  if (produced_ == entry_.size || got < wanted) GRAFT_CHECK_OK(check_end());
  return got;
}

Result<std::string> read_zip_entry(const ZipEntry& entry, uint64_t limit) {
  if (entry.size > limit) {
    return invalid(place_of(entry) + ": " + std::to_string(entry.size) + " bytes are more than the limit of " +
                   std::to_string(limit));
  }
  GRAFT_TRY(ZipEntryReader reader, ZipEntryReader::open(entry));
  std::string content(entry.size, '\0');
  size_t filled = 0;
  do {
    GRAFT_TRY(const size_t got, reader.read(std::as_writable_bytes(std::span(content).subspan(filled))));
    if (got == 0) break;
    filled += got;
  } while (filled < content.size());
  return content;
}

}  // namespace graft::formats
