#include "recipe/example_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/file_errors.h"

namespace graft::recipe {
namespace {

constexpr size_t kBlockExamples = 4096;            // that are read at once
constexpr int64_t kBlockBytes = int64_t{4} << 20;  // of their data; a longer example alone

int64_t data_bytes(const StoredExample& entry) {
  return (int64_t{entry.tokens} + entry.runs) * static_cast<int64_t>(sizeof(int32_t));
}

std::vector<uint32_t> runs_of(const std::vector<uint8_t>& mask) {
  std::vector<uint32_t> runs;
  uint8_t value = 0;
  for (size_t begin = 0; begin < mask.size();) {
    size_t end = begin;
    while (end < mask.size() && mask[end] == value) ++end;
    runs.push_back(static_cast<uint32_t>(end - begin));
    begin = end;
    value = 1 - value;
  }
  return runs;
}

template <typename T>
void append_raw(const T* values, size_t count, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

Status write_at(int descriptor, int64_t at, std::string_view bytes, const std::filesystem::path& place) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor, bytes.data(), bytes.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot write", place, errno);
    at += count;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

int open_unnamed(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return descriptor;
  std::string name = (directory / "graft-XXXXXX").string();  // file systems without O_TMPFILE
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

Result<ExampleFile> ExampleFile::unnamed() {
  std::error_code error;
  std::filesystem::path directory = std::filesystem::temp_directory_path(error);
  if (error) directory = "/tmp";
  ExampleFile file(directory, open_unnamed(directory), open_unnamed(directory));
  if (file.index_descriptor_ < 0 || file.data_descriptor_ < 0) {
    return system_error("cannot make a temporary file in", directory, errno);
  }
  return file;
}

Result<ExampleFile> ExampleFile::open(const std::filesystem::path& directory) {
  const auto opened = [&](const char* name) {
    return ::open((directory / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  };
  const int index = opened("index");
  const int data = index < 0 ? -1 : opened("data");
  const int failed = errno;
  ExampleFile file(directory, index, data);
  if (data < 0) return system_error("cannot open examples in", directory, failed);
  return file;
}

ExampleFile::ExampleFile(ExampleFile&& other) noexcept { *this = std::move(other); }

ExampleFile& ExampleFile::operator=(ExampleFile&& other) noexcept {
  if (this == &other) return *this;
  close();
  place_ = std::move(other.place_);
  index_descriptor_ = std::exchange(other.index_descriptor_, -1);
  data_descriptor_ = std::exchange(other.data_descriptor_, -1);
  end_ = other.end_;
  index_ = std::move(other.index_);
  data_ = std::move(other.data_);
  return *this;
}

ExampleFile::~ExampleFile() { close(); }

void ExampleFile::close() {
  for (int* descriptor : {&index_descriptor_, &data_descriptor_}) {
    if (*descriptor >= 0) ::close(*descriptor);
    *descriptor = -1;
  }
}

void ExampleFile::append(const Example& example, StoredExample entry) {
  const std::vector<uint32_t> runs = runs_of(example.supervised);
  entry.offset = end_.bytes + static_cast<int64_t>(data_.size());
  entry.row = example.row;
  entry.tokens = static_cast<int32_t>(example.tokens.size());
  entry.runs = static_cast<int32_t>(runs.size());
  entry.learned = static_cast<int32_t>(supervised_tokens(example));
  append_raw(&entry, 1, index_);
  append_raw(example.tokens.data(), example.tokens.size(), data_);
  append_raw(runs.data(), runs.size(), data_);
}

Result<uint64_t> ExampleFile::flush() {
  constexpr auto kEntry = static_cast<int64_t>(sizeof(StoredExample));
  GRAFT_CHECK_OK(write_at(data_descriptor_, end_.bytes, data_, place_));
  GRAFT_CHECK_OK(write_at(index_descriptor_, end_.examples * kEntry, index_, place_));
  end_.bytes += static_cast<int64_t>(data_.size());
  end_.examples += static_cast<int64_t>(index_.size()) / kEntry;
  const uint64_t sum = checksum64(data_, checksum64(index_));
  index_.clear();
  data_.clear();
  return sum;
}

Status ExampleFile::sync() const {
  for (const int descriptor : {data_descriptor_, index_descriptor_}) {
    if (::fsync(descriptor) != 0) return system_error("cannot write", place_, errno);
  }
  return {};
}

Result<uint64_t> ExampleFile::checksum(const Extent& from, const Extent& to) const {
  if (to.examples < from.examples || to.bytes < from.bytes) return damaged();
  constexpr size_t kEntry = sizeof(StoredExample);
  // Nothing is allocated for bytes that are not there.
  if (::lseek(index_descriptor_, 0, SEEK_END) < to.examples * static_cast<int64_t>(kEntry) ||
      ::lseek(data_descriptor_, 0, SEEK_END) < to.bytes) {
    return damaged();
  }
  std::string bytes(static_cast<size_t>(to.examples - from.examples) * kEntry, '\0');
  GRAFT_CHECK_OK(
      read_bytes(index_descriptor_, from.examples * static_cast<int64_t>(kEntry), bytes.data(), bytes.size()));
  const uint64_t sum = checksum64(bytes);
  bytes.resize(static_cast<size_t>(to.bytes - from.bytes));
  GRAFT_CHECK_OK(read_bytes(data_descriptor_, from.bytes, bytes.data(), bytes.size()));
  return checksum64(bytes, sum);
}

Status ExampleFile::cut_at_end() {
  index_.clear();
  data_.clear();
  if (::ftruncate(index_descriptor_, end_.examples * static_cast<int64_t>(sizeof(StoredExample))) != 0 ||
      ::ftruncate(data_descriptor_, end_.bytes) != 0) {
    return system_error("cannot write", place_, errno);
  }
  return {};
}

Error ExampleFile::damaged() const {
  return invalid(place_.string() +
                 ": the prepared examples are damaged; remove that directory, and they are made again");
}

Status ExampleFile::read_bytes(int descriptor, int64_t at, void* to, size_t size) const {
  auto* bytes = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t count = ::pread(descriptor, bytes, size, at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot read", place_, errno);
    if (count == 0) return damaged();
    bytes += count;
    at += count;
    size -= static_cast<size_t>(count);
  }
  return {};
}

Result<Example> ExampleFile::decode(const StoredExample& entry, std::string_view bytes) const {
  Example example;
  example.row = entry.row;
  example.label = entry.label;
  example.tokens.resize(static_cast<size_t>(entry.tokens));
  const size_t token_bytes = example.tokens.size() * sizeof(int32_t);
  std::memcpy(example.tokens.data(), bytes.data(), token_bytes);
  std::vector<uint32_t> runs(static_cast<size_t>(entry.runs));
  if (!runs.empty()) std::memcpy(runs.data(), bytes.data() + token_bytes, runs.size() * sizeof(uint32_t));
  example.supervised.reserve(example.tokens.size());
  uint8_t value = 0;
  for (const uint32_t run : runs) {
    if (run > example.tokens.size() - example.supervised.size()) return damaged();
    example.supervised.insert(example.supervised.end(), run, value);
    value = 1 - value;
  }
  if (example.supervised.size() != example.tokens.size()) return damaged();
  return example;
}

Result<StoredExample> ExampleFile::entry(int64_t number) const {
  StoredExample entry;
  GRAFT_CHECK_OK(read_bytes(index_descriptor_, number * static_cast<int64_t>(sizeof entry), &entry, sizeof entry));
  if (entry.tokens < 0 || entry.runs < 0 || entry.runs > entry.tokens + 1 || entry.offset < 0 ||
      entry.offset > end_.bytes - data_bytes(entry)) {
    return damaged();
  }
  return entry;
}

Result<Example> ExampleFile::read(int64_t number) const {
  GRAFT_TRY(const StoredExample found, entry(number));
  std::string bytes(static_cast<size_t>(data_bytes(found)), '\0');
  GRAFT_CHECK_OK(read_bytes(data_descriptor_, found.offset, bytes.data(), bytes.size()));
  return decode(found, bytes);
}

Status ExampleFile::each_entry(const std::function<void(const StoredExample&)>& take) const {
  std::vector<StoredExample> block;
  for (int64_t first = 0; first < end_.examples; first += static_cast<int64_t>(block.size())) {
    block.resize(std::min(kBlockExamples, static_cast<size_t>(end_.examples - first)));
    const int64_t at = first * static_cast<int64_t>(sizeof(StoredExample));
    GRAFT_CHECK_OK(read_bytes(index_descriptor_, at, block.data(), block.size() * sizeof(StoredExample)));
    for (const StoredExample& entry : block) take(entry);
  }
  return {};
}

Status ExampleFile::each(const std::function<void(const StoredExample&, Example)>& take) const {
  std::vector<StoredExample> waiting;
  std::string bytes;
  Status failed;
  const auto pass_on = [&]() -> Status {
    if (waiting.empty()) return {};
    const int64_t begin = waiting.front().offset;
    const int64_t size = waiting.back().offset + data_bytes(waiting.back()) - begin;
    bytes.resize(static_cast<size_t>(size));
    GRAFT_CHECK_OK(read_bytes(data_descriptor_, begin, bytes.data(), bytes.size()));
    for (const StoredExample& entry : waiting) {
      const auto at = static_cast<size_t>(entry.offset - begin);
      GRAFT_TRY(Example example,
                decode(entry, std::string_view(bytes).substr(at, static_cast<size_t>(data_bytes(entry)))));
      take(entry, std::move(example));
    }
    waiting.clear();
    return {};
  };
  GRAFT_CHECK_OK(each_entry([&](const StoredExample& entry) {
    if (!failed.ok()) return;
    const bool full = !waiting.empty() && entry.offset + data_bytes(entry) - waiting.front().offset > kBlockBytes;
    if (full) failed = pass_on();
    waiting.push_back(entry);
  }));
  GRAFT_CHECK_OK(failed);
  return pass_on();
}

}  // namespace graft::recipe
