#include "base/files.h"
#include "base/json.h"
#include "training/job_directory.h"

namespace graft::training {
namespace {

constexpr uint64_t kMaxEventsBytes = uint64_t{4} << 30;

double number(const nlohmann::json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_number() ? found->get<double>() : 0.0;
}

int64_t integer(const nlohmann::json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::string text(const nlohmann::json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_string() ? found->get<std::string>() : "";
}

template <class Point>
void drop_after(std::vector<Point>& points, int64_t step) {
  while (!points.empty() && points.back().step > step) points.pop_back();
}

template <class Point>
void put(std::vector<Point>& points, const Point& point) {
  drop_after(points, point.step - 1);
  points.push_back(point);
}

void replay(const nlohmann::json& event, History& history) {
  const std::string kind = text(event, "event");
  const int64_t step = integer(event, "step");
  if (kind == "step") {
    put(history.steps, HistoryStep{step, number(event, "epoch"), number(event, "loss"), number(event, "learning_rate"),
                                   number(event, "grad_norm"), number(event, "seconds"), integer(event, "tokens"),
                                   integer(event, "total_tokens")});
  } else if (kind == "evaluation") {
    put(history.evaluations, HistoryEvaluation{step, number(event, "validation_loss")});
  } else if (kind == "state") {
    history.state = text(event, "state");
    if (history.state != "resumed") return;
    drop_after(history.steps, step);
    drop_after(history.evaluations, step);
    ++history.resumes;
  }
}

}  // namespace

Result<History> read_history(const fs::path& events) {
  GRAFT_TRY(const std::string content, read_file(events, kMaxEventsBytes));
  History history;
  int64_t line_number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = content.find('\n', begin);
    if (end == std::string::npos) break;
    ++line_number;
    auto event = parse_json(std::string_view(content).substr(begin, end - begin));
    if (!event.ok() || !event->is_object()) {
      return invalid(events.string() + ":" + std::to_string(line_number) +
                     ": is not a JSON object; the file was changed by something else than graft");
    }
    replay(*event, history);
    begin = end + 1;
  }
  return history;
}

}  // namespace graft::training
