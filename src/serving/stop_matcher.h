#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::serving {

// Finds the first stop sequence in text that comes in pieces, whatever the borders. What ends first wins; of two that
// end together, the longer one.
class StopMatcher {
 public:
  // keep: the text of the stop sequence is part of the output. Otherwise text that may be the beginning of one is held
  // back until it is sure. No stop sequence may be empty.
  StopMatcher(std::vector<std::string> stops, bool keep);

  struct Match {
    std::string text;  // what became certain
    bool stopped = false;
  };
  Match push(std::string_view text);  // not after a stop
  std::string finish();               // what was held back

 private:
  std::vector<std::string> stops_;
  bool keep_;
  std::string pending_;  // the longest end of the text so far that may be the beginning of a stop sequence
};

}  // namespace graft::serving
