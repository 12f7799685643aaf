#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "formats/byte_stream.h"

namespace graft::formats {
namespace {

constexpr size_t kChunk = size_t{1} << 17;

Error cut_short(const std::string& kind) {
  return invalid("the " + kind + " data ends too early: the file is cut short; download or copy it again");
}

// The packed bytes, a chunk at a time.
class PackedInput {
 public:
  explicit PackedInput(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)), chunk_(kChunk) {}

  // Fetches a chunk where none is left. False at the end of the file.
  Result<bool> fill() {
    if (begin_ < end_) return true;
    GRAFT_TRY(end_, stream_->read(chunk_.data(), chunk_.size()));
    begin_ = 0;
    return end_ > 0;
  }
  [[nodiscard]] char* data() { return chunk_.data() + begin_; }
  [[nodiscard]] size_t size() const { return end_ - begin_; }
  void take(size_t bytes) { begin_ += bytes; }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::vector<char> chunk_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(std::unique_ptr<ByteStream> packed) : input_(std::move(packed)) {}
  ~GzipStream() override { inflateEnd(&zlib_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  Result<size_t> read(char* data, size_t size) override {
    zlib_.next_out = reinterpret_cast<Bytef*>(data);
    zlib_.avail_out = static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max()));
    const uInt wanted = zlib_.avail_out;
    while (zlib_.avail_out == wanted) {
      if (!held_back_) {
        GRAFT_TRY(const bool more, input_.fill());
        if (!more && (inside_ || members_ == 0)) return cut_short("gzip");
        if (!more) return size_t{0};
      }
      held_back_ = false;
      GRAFT_CHECK_OK(step());
    }
    held_back_ = inside_ && zlib_.avail_out == 0;
    return static_cast<size_t>(wanted - zlib_.avail_out);
  }

 private:
  Status step() {
    if (!inside_) {
      constexpr int kGzipOnly = 15 + 16;
      const int ready = members_ == 0 ? inflateInit2(&zlib_, kGzipOnly) : inflateReset(&zlib_);
      if (ready != Z_OK) return internal_error("zlib cannot start: out of memory");
      inside_ = true;
      ++members_;
    }
    zlib_.next_in = reinterpret_cast<Bytef*>(input_.data());
    zlib_.avail_in = static_cast<uInt>(input_.size());
    const int state = inflate(&zlib_, Z_NO_FLUSH);
    input_.take(input_.size() - zlib_.avail_in);
    if (state == Z_STREAM_END) {
      inside_ = false;
    } else if (state != Z_OK && state != Z_BUF_ERROR) {  // the latter: nothing was held back
      const std::string why = zlib_.msg != nullptr ? zlib_.msg : "unknown reason";
      return invalid("not valid gzip data (" + why + "); the file is damaged, or is not what its name says");
    }
    return {};
  }

  PackedInput input_;
  z_stream zlib_{};
  bool inside_ = false;     // of a member
  bool held_back_ = false;  // there may be output that had no room, though no input is left
  int64_t members_ = 0;
};

class ZstdStream final : public ByteStream {
 public:
  ZstdStream(std::unique_ptr<ByteStream> packed, ZSTD_DCtx* context) : input_(std::move(packed)), context_(context) {}

  Result<size_t> read(char* data, size_t size) override {
    ZSTD_outBuffer out{data, size, 0};
    while (out.pos == 0) {
      if (!held_back_) {
        GRAFT_TRY(const bool more, input_.fill());
        if (!more && pending_ != 0) return cut_short("zstd");
        if (!more) return size_t{0};
      }
      held_back_ = false;
      ZSTD_inBuffer in{input_.data(), input_.size(), 0};
      pending_ = ZSTD_decompressStream(context_.get(), &out, &in);
      input_.take(in.pos);
      if (ZSTD_isError(pending_) != 0) {
        return invalid(std::string("not valid zstd data (") + ZSTD_getErrorName(pending_) +
                       "); the file is damaged, is not what its name says, or needs a larger window than 128 MiB: "
                       "pack it without --long or --ultra");
      }
    }
    held_back_ = pending_ != 0 && out.pos == out.size;
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  PackedInput input_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  size_t pending_ = 1;      // 0 between two frames
  bool held_back_ = false;  // as above
};

}  // namespace

std::unique_ptr<ByteStream> make_gzip_stream(std::unique_ptr<ByteStream> packed) {
  return std::make_unique<GzipStream>(std::move(packed));
}

Result<std::unique_ptr<ByteStream>> make_zstd_stream(std::unique_ptr<ByteStream> packed) {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  if (context == nullptr) return internal_error("zstd cannot start: out of memory");
  return std::unique_ptr<ByteStream>(std::make_unique<ZstdStream>(std::move(packed), context));
}

}  // namespace graft::formats
