#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/engine_process.h"
#include "storage/model_store.h"

namespace graft::cli {
namespace {

struct Finding {
  std::string check;
  bool ok = true;
  std::string detail;  // what was found, and where it is not ok, what to do
};

constexpr double kGiB = 1024.0 * 1024 * 1024;

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  }
  return "unknown processor";
}

Finding check_cpu() {
  std::vector<std::string> features;
  if (__builtin_cpu_supports("avx2") != 0) features.emplace_back("avx2");
  if (__builtin_cpu_supports("avx512f") != 0) features.emplace_back("avx512");
  if (__builtin_cpu_supports("avx512vnni") != 0) features.emplace_back("vnni");
  if (__builtin_cpu_supports("avx512bf16") != 0) features.emplace_back("bf16");
  std::string detail = fmt::format("{}, {} threads: {}", cpu_name(), std::thread::hardware_concurrency(),
                                   features.empty() ? "no vector extensions" : join(features, " "));
  if (!features.empty()) return {"cpu", true, detail};
  return {"cpu", false, detail + "; a processor with AVX2 is needed for useful speed"};
}

Finding check_memory() {
  std::ifstream file("/proc/meminfo");
  double total = 0;
  double available = 0;
  std::string key;
  double kib = 0;
  for (std::string rest; file >> key >> kib; std::getline(file, rest)) {
    if (key == "MemTotal:") total = kib * 1024;
    if (key == "MemAvailable:") available = kib * 1024;
  }
  std::string detail = fmt::format("{:.1f} of {:.1f} GiB are free", available / kGiB, total / kGiB);
  if (available >= 2 * kGiB) return {"memory", true, detail};
  return {"memory", false, detail + "; close other programs: the smallest models need about 2 GiB"};
}

Finding check_home() {
  const auto home = graft_home();
  if (!home.ok()) return {"home", false, home.error().message};
  Status status = make_directories(*home);
  if (status.ok()) status = write_file_atomic(*home / ".doctor", "writable\n");
  if (!status.ok())
    return {"home", false, status.error().message + "; set GRAFT_HOME to a directory that you may write"};
  std::error_code ignored;
  fs::remove(*home / ".doctor", ignored);
  const auto space = free_disk_space(*home);
  const double free = space.ok() ? static_cast<double>(*space) : 0;
  std::string detail = fmt::format("{} is writable, {:.1f} GiB of disk are free", home->string(), free / kGiB);
  if (free >= kGiB) return {"home", true, detail};
  return {"home", false, detail + "; free some space, or set GRAFT_HOME to another disk"};
}

// The engine links libtorch from the Python environment: whether that is in place shows when it starts.
Finding check_engine() {
  const auto engine = engine_path();
  if (!engine.ok()) return {"engine", false, engine.error().message};
  const Status started = probe_engine(*engine);
  if (!started.ok()) return {"engine", false, started.error().message};
  return {"engine", true, engine->string() + " starts"};
}

Finding check_models() {
  const auto store = storage::ModelStore::open_default();
  if (!store.ok()) return {"models", false, store.error().message};
  const auto models = store->list();
  if (!models.ok()) return {"models", false, models.error().message};
  std::vector<std::string> names;
  for (const auto& model : *models) {
    if (!fs::exists(model.source) && model.prepared_variants().empty()) {
      return {"models", false,
              "the source of '" + model.name + "' is gone (" + model.source.string() +
                  "); put it back, or: graft models remove " + model.name};
    }
    names.push_back(model.name);
  }
  return {"models", true, names.empty() ? "none yet; take one in with: graft import SOURCE" : join(names, ", ")};
}

}  // namespace

int run_doctor(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Checks that this machine is ready. Exit code 1 where something is not.", "graft doctor");
  bool json = false;
  app.add_flag("--json", json, "print a JSON array of {check, ok, detail}");
  return run_app(app, arguments, streams, [&]() -> Status {
    const std::vector<Finding> findings = {check_cpu(), check_memory(), check_home(), check_engine(), check_models()};
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    std::vector<std::string> failed;
    for (const Finding& finding : findings) {
      rows.push_back({{"check", finding.check}, {"ok", finding.ok}, {"detail", finding.detail}});
      if (!json)
        streams.out << fmt::format("{:<5} {:<8} {}\n", finding.ok ? "ok" : "FAIL", finding.check, finding.detail);
      if (!finding.ok) failed.push_back(finding.check);
    }
    if (json) streams.out << rows.dump(2) << "\n";
    if (failed.empty()) return {};
    return invalid("not ready: " + join(failed, ", "));
  });
}

}  // namespace graft::cli
