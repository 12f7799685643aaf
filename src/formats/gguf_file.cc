#include <fmt/format.h>

#include "base/strings.h"
#include "formats/gguf.h"

namespace graft::formats {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostParts = 99999;  // five digits in the names

struct Split {
  int64_t number = 0;  // from 0
  int64_t count = 1;
  int64_t tensors = 0;  // of all parts
};

Result<Split> split_of(const GgufMetadata& metadata) {
  Split split;
  GRAFT_TRY(split.count, metadata.integer_or("split.count", 1));
  if (split.count <= 1) return Split{};
  GRAFT_TRY(split.number, metadata.integer("split.no"));
  GRAFT_TRY(split.tensors, metadata.integer("split.tensors.count"));
  if (split.count > kMostParts || split.number < 0 || split.number >= split.count) {
    return invalid(
        fmt::format("metadata keys 'split.no' {} and 'split.count' {} are impossible", split.number, split.count));
  }
  return split;
}

std::string part_suffix(int64_t number, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

// The path without "-0000K-of-0000N.gguf".
Result<std::string> stem_of(const fs::path& path, const Split& split) {
  const std::string suffix = part_suffix(split.number, split.count);
  std::string stem = path.string();
  if (!stem.ends_with(suffix)) {
    return invalid(
        fmt::format("part {} of {} of a split model, so its name must end in '{}'; give the file its name back",
                    split.number + 1, split.count, suffix));
  }
  stem.resize(stem.size() - suffix.size());
  return stem;
}

struct Opened {
  MappedFile map;
  GgufContents contents;
};

Result<Opened> open_part(const fs::path& path) {
  GRAFT_TRY(MappedFile map, MappedFile::open(path));
  auto contents = parse_gguf(map.bytes());
  if (!contents.ok()) return at(path.string(), contents.error());
  return Opened{std::move(map), std::move(contents).value()};
}

Status check_part(const fs::path& path, const GgufMetadata& metadata, int64_t number, const Split& split) {
  auto found = split_of(metadata);
  if (!found.ok()) return at(path.string(), found.error());
  if (found->number == number && found->count == split.count && found->tensors == split.tensors) return {};
  return invalid(
      fmt::format("{}: not part {} of {} of this model; it is of another one", path.string(), number + 1, split.count));
}

}  // namespace

Status GgufFile::add_part(const fs::path& path, MappedFile map, GgufContents contents) {
  for (TensorView& tensor : contents.tensors) {
    if (!index_.emplace(tensor.name, tensors_.size()).second) {
      return invalid(path.string() + ": tensor '" + printable(tensor.name) + "' is in an earlier part too");
    }
    tensors_.push_back(std::move(tensor));
  }
  if (parts_.empty()) metadata_ = std::move(contents.metadata);
  parts_.push_back({path, std::move(map)});
  return {};
}

Result<GgufFile> GgufFile::open(const fs::path& path) {
  GRAFT_TRY(Opened given, open_part(path));
  const auto split = split_of(given.contents.metadata);
  if (!split.ok()) return at(path.string(), split.error());
  GgufFile file;
  if (split->count == 1) {
    GRAFT_CHECK_OK(file.add_part(path, std::move(given.map), std::move(given.contents)));
    return file;
  }
  const auto stem = stem_of(path, *split);
  if (!stem.ok()) return at(path.string(), stem.error());
  for (int64_t i = 0; i < split->count; ++i) {
    const fs::path part = *stem + part_suffix(i, split->count);
    std::error_code error;
    if (!fs::exists(part, error)) {
      return not_found(fmt::format("{}: part {} of {} is missing; download all parts into one directory", part.string(),
                                   i + 1, split->count));
    }
    GRAFT_TRY(Opened opened, open_part(part));
    GRAFT_CHECK_OK(check_part(part, opened.contents.metadata, i, *split));
    GRAFT_CHECK_OK(file.add_part(part, std::move(opened.map), std::move(opened.contents)));
  }
  if (static_cast<int64_t>(file.tensors_.size()) != split->tensors) {
    return invalid(fmt::format("{}: the parts hold {} tensors together, but 'split.tensors.count' says {}",
                               path.string(), file.tensors_.size(), split->tensors));
  }
  return file;
}

const TensorView* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace graft::formats
