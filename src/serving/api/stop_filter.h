#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::serving::api {

// OpenAI's `stop`: the output ends before the stop sequence, while the engine's text still has it. Fed with text as it
// comes, gives back what is certain not to belong to a stop sequence.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  std::string push(std::string_view text);
  std::string finish();  // what was held back; empty once stopped
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace graft::serving::api
