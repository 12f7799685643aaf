#include "training/train_state.h"

#include <fmt/format.h>

#include <cmath>

namespace graft::training {
namespace {

// Reads members of an object; the first one that is missing or of another type is remembered.
class Reader {
 public:
  explicit Reader(const nlohmann::json& object) : object_(object) {}

  void read(const char* key, int64_t& value) {
    if (const auto* found = find(key, &nlohmann::json::is_number_integer)) value = found->get<int64_t>();
  }
  void read(const char* key, int32_t& value) {
    if (const auto* found = find(key, &nlohmann::json::is_number_integer)) value = found->get<int32_t>();
  }
  void read(const char* key, double& value) {
    if (const auto* found = find(key, &nlohmann::json::is_number)) value = found->get<double>();
  }
  void read(const char* key, bool& value) {
    if (const auto* found = find(key, &nlohmann::json::is_boolean)) value = found->get<bool>();
  }
  void read(const char* key, std::string& value) {
    if (const auto* found = find(key, &nlohmann::json::is_string)) value = found->get<std::string>();
  }
  template <class T>
  void read_optional(const char* key, std::optional<T>& value) {
    if (!object_.contains(key)) return;
    T present{};
    read(key, present);
    value = present;
  }
  [[nodiscard]] const nlohmann::json* find_object(const char* key) { return find(key, &nlohmann::json::is_object); }
  void fail(const std::string& key) {
    if (bad_.empty()) bad_ = key;
  }
  [[nodiscard]] const std::string& bad() const { return bad_; }

 private:
  const nlohmann::json* find(const char* key, bool (nlohmann::json::*is_type)() const noexcept) {
    if (object_.is_object()) {
      const auto found = object_.find(key);
      if (found != object_.end() && ((*found).*is_type)()) return &*found;
    }
    fail(key);
    return nullptr;
  }

  const nlohmann::json& object_;
  std::string bad_;
};

}  // namespace

nlohmann::json to_json(const TrainState& state) {
  nlohmann::json json = {
      {"step", state.step},
      {"epoch", state.epoch},
      {"tokens", state.tokens},
      {"labelled_tokens", state.labelled_tokens},
      {"seconds", state.seconds},
      {"evaluations_without_improvement", state.evaluations_without_improvement},
      {"stopped_early", state.stopped_early},
      {"cursor", state.cursor},
      {"environment",
       {{"build", state.environment.build}, {"isa", state.environment.isa}, {"threads", state.environment.threads}}},
  };
  if (state.evaluated_step) json["evaluated_step"] = *state.evaluated_step;
  if (state.validation_loss) json["validation_loss"] = *state.validation_loss;
  if (state.best) json["best"] = {{"step", state.best->step}, {"loss", state.best->loss}};
  if (state.best && state.best->score) json["best"]["score"] = *state.best->score;
  return json;
}

Result<TrainState> train_state_from_json(const nlohmann::json& json) {
  TrainState state;
  Reader reader(json);
  reader.read("step", state.step);
  reader.read("epoch", state.epoch);
  reader.read("tokens", state.tokens);
  reader.read("labelled_tokens", state.labelled_tokens);
  reader.read("seconds", state.seconds);
  reader.read("evaluations_without_improvement", state.evaluations_without_improvement);
  reader.read("stopped_early", state.stopped_early);
  reader.read_optional("evaluated_step", state.evaluated_step);
  reader.read_optional("validation_loss", state.validation_loss);
  if (json.is_object() && json.contains("best")) {
    if (const auto* best = reader.find_object("best")) {
      Reader inner(*best);
      state.best.emplace();
      inner.read("step", state.best->step);
      inner.read("loss", state.best->loss);
      inner.read_optional("score", state.best->score);
      if (!inner.bad().empty()) reader.fail("best." + inner.bad());
    }
  }
  if (const auto* environment = reader.find_object("environment")) {
    Reader inner(*environment);
    inner.read("build", state.environment.build);
    inner.read("isa", state.environment.isa);
    inner.read("threads", state.environment.threads);
    if (!inner.bad().empty()) reader.fail("environment." + inner.bad());
  }
  if (json.is_object() && json.contains("cursor")) {
    state.cursor = json["cursor"];
  } else {
    reader.fail("cursor");
  }
  if (!reader.bad().empty()) {
    return invalid(fmt::format("the checkpoint's trainer state has no usable '{}'", reader.bad()));
  }
  return state;
}

std::vector<std::string> differences(const RunEnvironment& then, const RunEnvironment& now) {
  std::vector<std::string> lines;
  auto compare = [&lines](const char* what, const std::string& before, const std::string& after) {
    if (before != after)
      lines.push_back(fmt::format("{}: {} when the checkpoint was written, {} now", what, before, after));
  };
  compare("build", then.build, now.build);
  compare("instruction set", then.isa, now.isa);
  compare("threads", std::to_string(then.threads), std::to_string(now.threads));
  return lines;
}

}  // namespace graft::training
