#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::serving {

// Finds the first stop sequence in text that comes in pieces, whatever the borders. What ends first wins.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);  // none of them empty

  struct Match {
    size_t size = 0;  // bytes of the pushed text that belong to the output, those of the stop sequence included
    bool stopped = false;
  };
  Match push(std::string_view text);  // not after a stop

 private:
  std::vector<std::string> stops_;
  std::string pending_;  // the longest end of the text so far that may be the beginning of a stop sequence
};

}  // namespace graft::serving
