#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "recipe/example.h"

namespace graft::recipe {

// An example's place in an ExampleFile, and what is known of it without its tokens. As it lies on disk.
struct StoredExample {
  int64_t offset = 0;      // of its tokens in `data`
  int64_t row = 0;         // in the data file, from 1
  uint64_t exact = 0;      // RowRecord's digests
  uint64_t near = 0;       //
  int64_t row_tokens = 0;  // of the whole row, before anything was shortened
  int32_t tokens = 0;
  int32_t runs = 0;     // of its mask
  int32_t learned = 0;  // tokens with loss
  int32_t label = -1;   // of classification: in the order in which labels were seen
  int32_t group = -1;   // that it is stratified by: in the order in which groups were seen
  uint8_t split = 0;
  uint8_t begins_row = 1;  // not the further pieces of a document
  uint8_t shortened = 0;
  uint8_t reserved = 0;
};
static_assert(sizeof(StoredExample) == 64);

// Examples on disk, in the order in which they were appended, so that memory need not hold them: `index` has a
// StoredExample for each, `data` its tokens (int32), then its mask as lengths of runs (uint32), the first one without
// loss. Read with pread and never mapped: pages of a map would count as this process's memory.
class ExampleFile {
 public:
  struct Extent {
    int64_t examples = 0;
    int64_t bytes = 0;  // of `data`
  };

  // Files without a name, in the directory for temporary files, that are gone with this object.
  static Result<ExampleFile> unnamed();
  // `index` and `data` in an existing directory, made where they are missing; ends at nothing until extend_to().
  static Result<ExampleFile> open(const std::filesystem::path& directory);
  ExampleFile() = default;  // holds nothing and takes nothing
  ExampleFile(ExampleFile&& other) noexcept;
  ExampleFile& operator=(ExampleFile&& other) noexcept;
  ~ExampleFile();

  // Keeps it in memory until flush(). Sets what of `entry` the example says: offset, tokens, runs, learned, row.
  void append(const Example& example, StoredExample entry);
  [[nodiscard]] size_t waiting_bytes() const { return index_.size() + data_.size(); }
  // Writes what waits; the checksum of it, as checksum() gives it.
  Result<uint64_t> flush();
  Status sync() const;  // durable

  [[nodiscard]] Extent end() const { return end_; }  // of what was flushed
  // Of what lies on disk between `from` and `to`. Errors: invalid where the files are shorter.
  [[nodiscard]] Result<uint64_t> checksum(const Extent& from, const Extent& to) const;
  void extend_to(const Extent& end) { end_ = end; }
  Status cut_at_end();  // forgets what lies behind end()

  // From any thread. The label is the stored one. Errors: io; invalid where the bytes cannot be an example's.
  [[nodiscard]] Result<Example> read(int64_t number) const;
  [[nodiscard]] Result<StoredExample> entry(int64_t number) const;
  Status each_entry(const std::function<void(const StoredExample&)>& take) const;
  Status each(const std::function<void(const StoredExample&, Example)>& take) const;

 private:
  ExampleFile(std::filesystem::path place, int index, int data)
      : place_(std::move(place)), index_descriptor_(index), data_descriptor_(data) {}
  void close();
  Status read_bytes(int descriptor, int64_t at, void* to, size_t size) const;
  [[nodiscard]] Result<Example> decode(const StoredExample& entry, std::string_view bytes) const;
  [[nodiscard]] Error damaged() const;

  std::filesystem::path place_;  // for messages
  int index_descriptor_ = -1;
  int data_descriptor_ = -1;
  Extent end_;
  std::string index_;  // not yet written
  std::string data_;
};

}  // namespace graft::recipe
