#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>

#include "base/config_tree.h"
#include "base/digest.h"
#include "training/job_description.h"
#include "training/line_log.h"
#include "training/run_records.h"

namespace graft::training {
namespace {

// Values that MLflow's own enumerations have in meta.yaml.
constexpr int kRunning = 1;
constexpr int kFinished = 3;
constexpr int kFailed = 4;
constexpr int kKilled = 5;
constexpr int kLocalSource = 4;

constexpr size_t kLongestParameter = 6000;  // what MLflow takes

int64_t milliseconds(double time) { return static_cast<int64_t>(std::floor(time * 1000)); }

// A JSON string is a quoted YAML one.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string file_uri(const fs::path& path) {
  std::string uri = "file://";
  for (const char c : path.string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/-_.~").find(c) != std::string_view::npos;
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
  return uri;
}

std::string user_name() {
  const char* user = std::getenv("USER");
  return user == nullptr || *user == '\0' ? "unknown" : user;
}

std::optional<std::string> yaml_value(const fs::path& file, const char* key) {
  const auto tree = ConfigTree::load(file.string());
  if (!tree.ok()) return std::nullopt;
  const ConfigNode* node = tree->root().find(key);
  return node == nullptr ? std::nullopt : std::optional(node->text);
}

// ---- the experiment ----

std::optional<fs::path> find_experiment(const fs::path& store, const std::string& name) {
  std::error_code error;
  fs::directory_iterator walk(store, error);
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    const fs::path meta = walk->path() / "meta.yaml";
    if (fs::exists(meta, error) && yaml_value(meta, "name") == name &&
        yaml_value(meta, "lifecycle_stage") == "active") {
      return walk->path();
    }
  }
  return std::nullopt;
}

// Two runs that make the same experiment at once choose the same number, so that the second finds the first's.
Result<fs::path> make_experiment(const fs::path& store, const std::string& name, double time) {
  constexpr uint64_t kSmallest = 100'000'000'000'000'000;  // 18 digits, as MLflow's own
  uint64_t id = kSmallest + std::stoull(sha256_hex(name).substr(0, 15), nullptr, 16) % (9 * kSmallest);
  while (true) {
    if (auto found = find_experiment(store, name)) return *found;
    const fs::path directory = store / std::to_string(id);
    GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(directory));
    const std::string meta = fmt::format(
        "artifact_location: {0}\ncreation_time: {1}\nexperiment_id: '{2}'\nlast_update_time: {1}\n"
        "lifecycle_stage: active\nname: {3}\n",
        quoted(file_uri(directory)), milliseconds(time), id, quoted(name));
    GRAFT_CHECK_OK(write_file_atomic(made.path() / "meta.yaml", meta));
    const Status published = made.publish();
    if (published.ok()) return directory;
    if (published.error().kind != ErrorKind::kConflict) return published.error();
    ++id;  // taken, by this experiment (found above) or another one
  }
}

// ---- the run ----

struct RunMeta {
  std::string id;
  std::string name;
  int64_t start = 0;
  std::optional<int64_t> end;
  int status = kRunning;
};

Status write_meta(const fs::path& directory, const RunMeta& meta) {
  const std::string text = fmt::format(
      "artifact_uri: {}\nend_time: {}\nentry_point_name: ''\nexperiment_id: '{}'\nlifecycle_stage: active\n"
      "run_id: {}\nrun_name: {}\nrun_uuid: {}\nsource_name: ''\nsource_type: {}\nsource_version: ''\nstart_time: {}\n"
      "status: {}\ntags: []\nuser_id: {}\n",
      quoted(file_uri(directory / "artifacts")), meta.end ? std::to_string(*meta.end) : "null",
      directory.parent_path().filename().string(), quoted(meta.id), quoted(meta.name), quoted(meta.id), kLocalSource,
      meta.start, meta.status, quoted(user_name()));
  return write_file_atomic(directory / "meta.yaml", text);
}

// MLflow's names hold letters, digits and _-. only (and more that no file name should).
std::string parameter_name(const std::string& path) {
  std::string name;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_-.").find(c) != std::string_view::npos;
    name += plain ? c : '_';
  }
  return name;
}

void collect_parameters(const nlohmann::json& value, const std::string& path,
                        std::map<std::string, std::string>& parameters) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      collect_parameters(inner, path.empty() ? key : path + "." + key, parameters);
    }
    return;
  }
  std::string text = value.is_string() && value.get_ref<const std::string&>().find('\n') == std::string::npos
                         ? value.get<std::string>()
                         : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLongestParameter) text = value.dump(-1, ' ', true).substr(0, kLongestParameter);
  parameters[parameter_name(path)] = text;
}

Status write_new_run(const fs::path& directory, const RecordedRun& run) {
  for (const char* folder : {"artifacts", "metrics", "params", "tags"}) {
    GRAFT_CHECK_OK(make_directories(directory / folder));
  }
  std::map<std::string, std::string> parameters;
  collect_parameters(config_to_json(recipe::to_node(run.config)), "", parameters);
  for (const auto& [name, value] : parameters) {
    GRAFT_CHECK_OK(write_file_atomic(directory / "params" / name, value));
  }
  const std::map<std::string, std::string> tags = {
      {"mlflow.runName", run.name},           {"mlflow.source.name", "graft train"},
      {"mlflow.source.type", "LOCAL"},        {"mlflow.user", user_name()},
      {"graft.base_digest", run.base_digest}, {"graft.dataset_sha256", run.dataset_sha256}};
  for (const auto& [name, value] : tags) GRAFT_CHECK_OK(write_file_atomic(directory / "tags" / name, value));
  return {};
}

// The lines "TIME VALUE STEP" of steps that stay.
Status drop_undone(const fs::path& file, int64_t last_step) {
  GRAFT_TRY(const std::string text, read_file(file));
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // torn
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const size_t space = line.rfind(' ');
    int64_t step = 0;
    const bool read = space != std::string_view::npos &&
                      std::from_chars(line.data() + space + 1, line.data() + line.size(), step).ec == std::errc();
    if (read && step <= last_step) kept += std::string(line) + "\n";
    begin = end + 1;
  }
  return write_file_atomic(file, kept);
}

Status drop_undone_metrics(const fs::path& metrics, int64_t last_step) {
  std::error_code error;
  fs::recursive_directory_iterator walk(metrics, error);
  std::vector<fs::path> files;
  for (const fs::recursive_directory_iterator end; !error && walk != end; walk.increment(error)) {
    if (walk->is_regular_file(error)) files.push_back(walk->path());
  }
  for (const fs::path& file : files) GRAFT_CHECK_OK(drop_undone(file, last_step));
  return {};
}

class MlflowRecord final : public RunRecord {
 public:
  MlflowRecord(fs::path directory, RunMeta meta) : directory_(std::move(directory)), meta_(std::move(meta)) {}

  Status on_step(const StepReport& report, double time) override {
    for (const auto& [name, value] : step_scalars(report)) GRAFT_CHECK_OK(add(name, value, report.step, time));
    return {};
  }
  Status on_evaluation(int64_t step, double loss, double time) override {
    return add("validation/loss", loss, step, time);
  }
  Status on_end(RunEnd end, double time) override {
    meta_.end = milliseconds(time);
    meta_.status = end == RunEnd::kFinished ? kFinished : end == RunEnd::kStopped ? kKilled : kFailed;
    return write_meta(directory_, meta_);
  }

 private:
  Status add(const std::string& name, double value, int64_t step, double time) {
    auto log = logs_.find(name);
    if (log == logs_.end()) {
      const fs::path file = directory_ / "metrics" / name;
      GRAFT_CHECK_OK(make_directories(file.parent_path()));
      GRAFT_TRY(LineLog opened, LineLog::open(file));
      log = logs_.emplace(name, std::move(opened)).first;
    }
    return log->second.append(fmt::format("{} {} {}", milliseconds(time), value, step));
  }

  fs::path directory_;
  RunMeta meta_;
  std::map<std::string, LineLog> logs_;
};

// The run that JOB/mlflow_run names, where it is still there.
std::optional<fs::path> find_run(const fs::path& job) {
  const auto named = read_file(job / "mlflow_run");
  std::error_code error;
  if (!named.ok() || !fs::exists(fs::path(*named) / "meta.yaml", error)) return std::nullopt;
  return fs::path(*named);
}

Result<fs::path> make_run(const RecordedRun& run, double time) {
  const fs::path store = fs::absolute(run.config.logging.mlflow_directory.value_or((run.job / "mlruns").string()));
  GRAFT_CHECK_OK(make_directories(store));
  GRAFT_TRY(const fs::path experiment, make_experiment(store, run.config.logging.mlflow_experiment, time));
  const std::string id =
      sha256_hex(fmt::format("{} {} {}", fs::absolute(run.job).string(), time, ::getpid())).substr(0, 32);
  fs::path directory = experiment / id;
  GRAFT_CHECK_OK(write_new_run(directory, run));
  GRAFT_CHECK_OK(write_meta(directory, {id, run.name, milliseconds(time), {}, kRunning}));
  GRAFT_CHECK_OK(write_file_atomic(run.job / "mlflow_run", directory.string()));
  return directory;
}

}  // namespace

Result<std::unique_ptr<RunRecord>> open_mlflow_record(const RecordedRun& run, double time) {
  std::optional<fs::path> directory = find_run(run.job);
  if (directory) {
    GRAFT_CHECK_OK(drop_undone_metrics(*directory / "metrics", run.step));
  } else {
    GRAFT_TRY(directory, make_run(run, time));
  }
  RunMeta meta{directory->filename().string(), run.name, milliseconds(time), {}, kRunning};
  if (const auto start = yaml_value(*directory / "meta.yaml", "start_time")) {
    std::from_chars(start->data(), start->data() + start->size(), meta.start);
  }
  GRAFT_CHECK_OK(write_meta(*directory, meta));
  return std::unique_ptr<RunRecord>(std::make_unique<MlflowRecord>(std::move(*directory), std::move(meta)));
}

}  // namespace graft::training
