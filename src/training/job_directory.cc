#include "training/job_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/digest.h"
#include "base/file_errors.h"
#include "base/files.h"
#include "base/json.h"

namespace graft::training {
namespace {

constexpr const char* kManifest = "checkpoint.json";
constexpr int kManifestVersion = 1;

double seconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(std::chrono::floor<std::chrono::milliseconds>(now)).count();
}

std::optional<int64_t> step_of_name(const std::string& name) {
  int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0 || name != std::to_string(step)) return {};
  return step;
}

Result<std::vector<fs::path>> files_below(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator walk(directory, error);
  for (const fs::recursive_directory_iterator end; !error && walk != end; walk.increment(error)) {
    if (walk->is_regular_file(error)) files.push_back(walk->path());
  }
  if (error) return system_error("cannot list", directory, error.value());
  std::sort(files.begin(), files.end());
  return files;
}

Status write_manifest(const fs::path& directory, int64_t step, const nlohmann::json& trainer) {
  nlohmann::json files = nlohmann::json::object();
  GRAFT_TRY(const std::vector<fs::path> paths, files_below(directory));
  for (const fs::path& path : paths) {
    std::error_code error;
    const uint64_t bytes = fs::file_size(path, error);
    if (error) return system_error("cannot read", path, error.value());
    GRAFT_TRY(const std::string digest, sha256_file(path));
    files[path.lexically_relative(directory).generic_string()] = {{"bytes", bytes}, {"sha256", digest}};
  }
  const nlohmann::json manifest = {
      {"version", kManifestVersion}, {"step", step}, {"trainer", trainer}, {"files", files}};
  return write_file_atomic(directory / kManifest, manifest.dump(2) + "\n");
}

Status verify_file(const fs::path& path, const nlohmann::json& entry) {
  if (!entry.is_object() || !entry.contains("bytes") || !entry["bytes"].is_number_unsigned() ||
      !entry.contains("sha256") || !entry["sha256"].is_string()) {
    return invalid(fmt::format("{} lists a file without its size and digest", kManifest));
  }
  const std::string name = path.filename().string();
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) return invalid(name + " is missing");
  const uint64_t expected = entry["bytes"].get<uint64_t>();
  if (bytes != expected) return invalid(fmt::format("{} has {} bytes, not {}", name, bytes, expected));
  GRAFT_TRY(const std::string digest, sha256_file(path));
  if (digest != entry["sha256"].get_ref<const std::string&>()) return invalid(name + " is not what was written");
  return {};
}

bool stays_inside(const std::string& name) {
  const fs::path path(name);
  return !path.empty() && path.is_relative() &&
         std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
}

Result<Checkpoint> read_checkpoint(const fs::path& directory, int64_t step) {
  GRAFT_TRY(const std::string text, read_file(directory / kManifest));
  GRAFT_TRY(const nlohmann::json manifest, parse_json(text));
  if (!manifest.is_object()) return invalid(fmt::format("{} is not a JSON object", kManifest));
  if (manifest.value("version", nlohmann::json()) != kManifestVersion) {
    return invalid(fmt::format("{} is of another version of graft", kManifest));
  }
  if (manifest.value("step", nlohmann::json()) != step || !manifest.contains("trainer") ||
      !manifest.contains("files") || !manifest["files"].is_object()) {
    return invalid(fmt::format("{} does not describe step {}", kManifest, step));
  }
  for (const auto& [name, entry] : manifest["files"].items()) {
    if (!stays_inside(name)) return invalid(fmt::format("{} lists a file outside of the checkpoint", kManifest));
    GRAFT_CHECK_OK(verify_file(directory / name, entry));
  }
  return Checkpoint{step, directory, manifest["trainer"]};
}

// A lock alone is what a run leaves that was refused before it began.
Result<bool> has_files(const fs::path& directory) {
  std::error_code error;
  fs::directory_iterator walk(directory, error);
  bool found = false;
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    const std::string name = walk->path().filename().string();
    if (name != "lock" && name != "lost+found") found = true;
  }
  if (error) return system_error("cannot list", directory, error.value());
  return found;
}

Status check_usable(const fs::path& directory, bool resume) {
  GRAFT_TRY(const bool occupied, has_files(directory));
  if (!occupied) return {};
  if (!resume) {
    return conflict(directory.string() +
                    ": is not empty; add --resume to go on with the run in it, or choose another --output");
  }
  std::error_code error;
  if (!fs::exists(directory / "job.json", error)) {
    return invalid(directory.string() + ": has files but no job.json, so no training run to resume; check --output");
  }
  return {};
}

Result<FileLock> take_lock(const fs::path& directory) {
  auto lock = FileLock::try_acquire(directory / "lock");
  if (!lock.ok() && lock.error().kind == ErrorKind::kConflict) {
    return conflict(directory.string() +
                    ": another run is using this directory; wait for it, or choose another --output");
  }
  return lock;
}

Status write_result(const fs::path& path, const std::function<Status(const fs::path&)>& fill) {
  GRAFT_TRY(AtomicDirectory directory, AtomicDirectory::create(path));
  GRAFT_CHECK_OK(fill(directory.path()));
  return directory.replace();
}

}  // namespace

Status JobDirectory::check(const fs::path& path, bool resume) {
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  if (!fs::is_directory(path, error)) return conflict(path.string() + ": is a file; choose a directory for --output");
  return check_usable(path, resume);
}

Result<JobDirectory> JobDirectory::open(const fs::path& path, bool resume) {
  std::error_code error;
  // A directory that is no job's gets not even a lock file; one that is in use is refused as in use.
  if (!fs::exists(path / "lock", error)) GRAFT_CHECK_OK(check(path, resume));
  GRAFT_CHECK_OK(make_directories(path));
  GRAFT_TRY(FileLock lock, take_lock(path));
  GRAFT_CHECK_OK(remove_stale_temporaries(path));
  GRAFT_CHECK_OK(remove_stale_temporaries(path / "checkpoints"));
  GRAFT_CHECK_OK(check_usable(path, resume));  // nobody else can begin a run in it now

  std::optional<nlohmann::json> job;
  if (fs::exists(path / "job.json", error)) {
    GRAFT_TRY(const std::string text, read_file(path / "job.json"));
    auto parsed = parse_json(text);
    if (!parsed.ok()) return at((path / "job.json").string(), parsed.error());
    if (!parsed->is_object()) return invalid((path / "job.json").string() + ": is not a JSON object");
    job = std::move(parsed).value();
  }
  GRAFT_TRY(LineLog events, LineLog::open(path / "events.jsonl"));
  JobDirectory directory(path, std::move(lock), std::move(events));
  directory.job_ = std::move(job);
  return directory;
}

Status JobDirectory::write_job(const nlohmann::json& job) {
  GRAFT_CHECK_OK(write_file_atomic(path_ / "job.json", job.dump(2) + "\n"));
  job_ = job;
  return {};
}

Status JobDirectory::append_event(nlohmann::ordered_json event) {
  event["time"] = seconds_since_1970();
  return events_.append(event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

fs::path JobDirectory::checkpoint_path(int64_t step) const { return path_ / "checkpoints" / std::to_string(step); }

Result<std::vector<int64_t>> JobDirectory::checkpoint_steps() const {
  std::vector<int64_t> steps;
  std::error_code error;
  const fs::path directory = path_ / "checkpoints";
  if (!fs::exists(directory, error)) return steps;
  fs::directory_iterator walk(directory, error);
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    if (const auto step = step_of_name(walk->path().filename().string())) steps.push_back(*step);
  }
  if (error) return system_error("cannot list", directory, error.value());
  std::sort(steps.begin(), steps.end());
  return steps;
}

Result<Checkpoint> JobDirectory::checkpoint(int64_t step) const {
  auto result = read_checkpoint(checkpoint_path(step), step);
  if (!result.ok()) return at(checkpoint_path(step).string(), result.error());
  return result;
}

Result<std::optional<Checkpoint>> JobDirectory::latest_checkpoint(std::vector<std::string>& warnings) const {
  GRAFT_TRY(std::vector<int64_t> steps, checkpoint_steps());
  if (steps.empty()) return std::optional<Checkpoint>();
  std::string first_reason;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    auto found = checkpoint(*step);
    if (found.ok()) return std::optional<Checkpoint>(std::move(found).value());
    if (first_reason.empty()) first_reason = found.error().message;
    warnings.push_back(found.error().message + "; using an older checkpoint");
  }
  warnings.clear();
  return invalid(fmt::format("{}; no other checkpoint is whole: remove {} to start again from step 0", first_reason,
                             (path_ / "checkpoints").string()));
}

Status JobDirectory::write_checkpoint(int64_t step, const nlohmann::json& trainer,
                                      const std::function<Status(const fs::path&)>& fill) {
  auto write = [&]() -> Status {
    GRAFT_TRY(AtomicDirectory directory, AtomicDirectory::create(checkpoint_path(step)));
    GRAFT_CHECK_OK(fill(directory.path()));
    GRAFT_CHECK_OK(write_manifest(directory.path(), step, trainer));
    return directory.replace();
  };
  Status status = write();
  if (!status.ok()) return at(fmt::format("checkpoint {} was not written", step), status.error());
  return events_.sync();
}

Status JobDirectory::prune_checkpoints(int32_t keep, std::optional<int64_t> best) {
  GRAFT_TRY(std::vector<int64_t> steps, checkpoint_steps());
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i) {
    if (steps[i] != best) GRAFT_CHECK_OK(remove_tree(checkpoint_path(steps[i])));
  }
  return {};
}

Status JobDirectory::write_adapter(const std::function<Status(const fs::path&)>& fill) {
  return write_result(adapter_path(), fill);
}

Status JobDirectory::write_model(const std::function<Status(const fs::path&)>& fill) {
  return write_result(model_path(), fill);
}

}  // namespace graft::training
