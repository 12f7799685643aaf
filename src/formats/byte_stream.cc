#include "formats/byte_stream.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/file_errors.h"

namespace graft::formats {
namespace {

class FileStream final : public ByteStream {
 public:
  explicit FileStream(std::FILE* file) : file_(file) { std::setvbuf(file, nullptr, _IONBF, 0); }

  Result<size_t> read(char* data, size_t size) override {
    const size_t got = std::fread(data, 1, size, file_.get());
    if (got == 0 && std::ferror(file_.get()) != 0) {
      return io_error("cannot read on: " + std::generic_category().message(errno));
    }
    return got;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

class MemoryStream final : public ByteStream {
 public:
  explicit MemoryStream(std::string bytes) : bytes_(std::move(bytes)) {}

  Result<size_t> read(char* data, size_t size) override {
    const size_t taken = std::min(size, bytes_.size() - position_);
    std::memcpy(data, bytes_.data() + position_, taken);
    position_ += taken;
    return taken;
  }

 private:
  std::string bytes_;
  size_t position_ = 0;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> open_file_stream(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return invalid(path.string() + ": a directory, not a file");
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return system_error("cannot read", path, errno);
  return std::unique_ptr<ByteStream>(std::make_unique<FileStream>(file));
}

std::unique_ptr<ByteStream> make_memory_stream(std::string bytes) {
  return std::make_unique<MemoryStream>(std::move(bytes));
}

PackedName packed_name(const std::filesystem::path& path) {
  PackedName named{path.filename().string()};
  std::transform(named.name.begin(), named.name.end(), named.name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto strip = [&](std::string_view suffix, PackedName::Packing packing) {
    if (named.packing != PackedName::Packing::kNone || !named.name.ends_with(suffix)) return;
    named.name.resize(named.name.size() - suffix.size());
    named.packing = packing;
  };
  strip(".gz", PackedName::Packing::kGzip);
  strip(".zst", PackedName::Packing::kZstd);
  strip(".zstd", PackedName::Packing::kZstd);
  return named;
}

Result<std::unique_ptr<ByteStream>> open_text_stream(const std::filesystem::path& path) {
  GRAFT_TRY(auto stream, open_file_stream(path));
  const auto packing = packed_name(path).packing;
  if (packing == PackedName::Packing::kGzip) stream = make_gzip_stream(std::move(stream));
  if (packing == PackedName::Packing::kZstd) {
    GRAFT_TRY(stream, make_zstd_stream(std::move(stream)));
  }
  auto text = make_utf8_stream(std::move(stream));
  if (!text.ok()) return at(path.string(), text.error());
  return text;
}

}  // namespace graft::formats
