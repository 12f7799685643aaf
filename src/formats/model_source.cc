#include "formats/model_source.h"

#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/model_sources.h"

namespace graft::formats {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return "[" + join(sizes, ", ") + "]";
}

}  // namespace

Result<std::unique_ptr<ModelSource>> ModelSource::open(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_hf_source(path);
  if (!std::filesystem::exists(path, error)) {
    return not_found(path.string() + ": no such file or directory; give a .gguf file or a directory with config.json");
  }
  if (path.extension() == ".gguf") return open_gguf_source(path);
  return unsupported(path.string() + ": neither a .gguf file nor a Hugging Face model directory");
}

std::vector<std::string> ModelSource::tensor_names() const {
  std::vector<std::string> names;
  for (WeightShape& weight : weights()) names.push_back(std::move(weight.name));
  return names;
}

Status check_weights(const ModelSpec& spec, const std::function<const TensorView*(const std::string&)>& find) {
  for (const WeightShape& weight : weight_shapes(spec)) {
    const TensorView* view = find(weight.name);
    if (view == nullptr) return invalid("tensor '" + weight.name + "' is missing");
    if (view->shape != weight.shape) {
      return invalid("tensor '" + weight.name + "' has shape " + shape_text(view->shape) +
                     ", but the configuration asks for " + shape_text(weight.shape));
    }
  }
  return {};
}

Result<std::vector<float>> read_weight(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  GRAFT_CHECK_OK(to_float32(view, values));
  if (const int64_t bad = find_non_finite(values); bad >= 0) {
    return invalid("tensor '" + printable(view.name) + "': element " + std::to_string(bad) +
                   " is NaN or infinite; the checkpoint is damaged");
  }
  return values;
}

}  // namespace graft::formats
