#include "recipe/prepare_file.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/digest.h"
#include "base/file_errors.h"
#include "base/files.h"
#include "recipe/dataset_cache.h"

namespace graft::recipe {
namespace {

// Raise it whenever a row may be encoded differently than before, or what is kept of it changes.
constexpr int64_t kEncoding = 1;

// A file as it is now: not the same once it was written to.
using FileStamp = std::array<int64_t, 6>;

Result<FileStamp> stamp_of(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return system_error("cannot read", path, errno);
  return FileStamp{info.st_size,        static_cast<int64_t>(info.st_ino),
                   info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                   info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
}

std::string key_of(const TrainingConfig& config, const std::string& text, const std::string& path,
                   const std::string& sha256, const PrepareOptions& options) {
  TrainingConfig encoding;  // the keys that change what rows become; all others are left at their defaults
  encoding.input_features = config.input_features;
  encoding.output_features = config.output_features;
  encoding.prompt = config.prompt;
  encoding.preprocessing = config.preprocessing;
  encoding.random_seed = config.random_seed;
  const std::string file = formats::DatasetReader::file_of(path).string();
  const nlohmann::ordered_json key = {{"encoding", kEncoding},
                                      {"sha256", sha256},
                                      {"format", fs::path(file).filename().extension().string()},
                                      {"packed", fs::path(file).stem().extension().string()},
                                      {"sheet", path.substr(file.size())},
                                      {"text", text},
                                      {"limit", longest_row(config, options.max_length)},
                                      {"prompts", stored_prompts(options)},
                                      {"config", to_yaml(encoding)}};
  return sha256_hex(key.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)).substr(0, 32);
}

// Nothing where the cache is off or cannot be used.
Result<std::optional<DatasetCache::Held>> hold_entry(const DatasetCache& cache, const std::string& key,
                                                     const std::string& path, const PrepareOptions& options) {
  const auto note = [&](const std::string& line) {
    if (options.on_note) options.on_note(line);
  };
  auto held = cache.hold(
      key, path, [&] { note("another graft process is preparing the same data; waiting for it"); }, options.stop);
  if (held.ok()) return std::optional(std::move(held).value());
  if (held.error().kind == ErrorKind::kCancelled) return held.error();
  note("warning: prepared examples are not kept: " + held.error().message);
  return std::optional<DatasetCache::Held>();
}

}  // namespace

std::string text_digest(const std::string& tokenizer_json, const std::map<std::string, std::string>& chat_templates,
                        const nlohmann::ordered_json& template_variables, const std::vector<int32_t>& eos_token_ids) {
  // As a map: the order of the variables says nothing.
  const std::map<std::string, std::string> variables = [&] {
    std::map<std::string, std::string> sorted;
    for (const auto& [name, value] : template_variables.items()) sorted[name] = value.dump();
    return sorted;
  }();
  const nlohmann::ordered_json all = {{"tokenizer", sha256_hex(tokenizer_json)},
                                      {"chat_templates", chat_templates},
                                      {"variables", variables},
                                      {"eos", eos_token_ids}};
  return sha256_hex(all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

Result<PreparedFile> prepare_file(const TrainingConfig& config, const RowEncoder& encoder, const std::string& text,
                                  const std::string& path, PrepareOptions options) {
  GRAFT_TRY(const auto reader, formats::DatasetReader::open(path));
  const fs::path file = formats::DatasetReader::file_of(path);
  GRAFT_TRY(const FileStamp before, stamp_of(file));
  PreparedFile prepared;
  GRAFT_TRY(prepared.sha256, sha256_file(file));
  std::optional<DatasetCache> cache;
  if (!text.empty()) {
    GRAFT_TRY(cache, DatasetCache::from_environment());
  }
  std::optional<DatasetCache::Held> held;
  if (cache) {
    GRAFT_TRY(held, hold_entry(*cache, key_of(config, text, path, prepared.sha256, options), path, options));
  }
  if (held) options.directory = held->directory;
  GRAFT_TRY(prepared.data, prepare(config, encoder, *reader, path, options));
  GRAFT_TRY(const FileStamp after, stamp_of(file));
  if (before != after) {
    // Examples of one content must not be found under the digest of another.
    if (held) GRAFT_CHECK_OK(remove_tree(held->directory));
    return invalid(path + ": was written to while it was read; wait until it is complete, then try again");
  }
  if (cache) GRAFT_CHECK_OK(cache->trim());
  return prepared;
}

}  // namespace graft::recipe
