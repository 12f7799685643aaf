#include "engine/quantised_base.h"

#include <algorithm>
#include <cstddef>

#include "ops/cpu/parallel.h"
#include "ops/weight.h"

namespace graft::engine {

namespace {

constexpr int64_t kRows = 256;  // of a task; whole panels

void round_rows(const ops::LinearWeight& as, int64_t rows, int64_t width, float* values) {
  std::vector<std::byte> packed(static_cast<size_t>(ops::stored_bytes(as, rows, width)));
  ops::pack_rows(as, values, rows, width, packed.data());
  const ops::cpu::WeightPart part{packed.data(), rows, 0};
  for (int64_t row = 0; row < rows; ++row) ops::read_row(as, part, row, values + row * width);
}

}  // namespace

Result<std::vector<float>> read_as_held(const formats::ModelSource& source, const std::string& name,
                                        model::WeightDType dtype) {
  GRAFT_TRY(std::vector<float> values, source.read(name));
  const std::vector<model::PreparedTensor> tensors = model::prepared_tensors(source.spec());
  const auto tensor =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& candidate) { return candidate.source == name; });
  if (tensor == tensors.end() || !tensor->packed) return values;
  ops::LinearWeight as = model::stored_as(*tensor, dtype);
  as.in_features = tensor->k;
  ops::cpu::parallel_for((tensor->n + kRows - 1) / kRows, [&](int64_t task) {
    const int64_t first = task * kRows;
    round_rows(as, std::min(kRows, tensor->n - first), tensor->k, values.data() + first * tensor->k);
  });
  return values;
}

}  // namespace graft::engine
