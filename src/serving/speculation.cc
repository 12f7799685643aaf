#include "serving/speculation.h"

namespace graft::serving {

int32_t confirmed(std::span<const int32_t> drafts, const std::vector<Result<runtime::SampledToken>>& samples) {
  size_t count = 0;
  while (count < drafts.size() && samples[count].ok() && samples[count]->id == drafts[count]) ++count;
  return static_cast<int32_t>(count);
}

}  // namespace graft::serving
