#include "serving/api/native_request.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "formats/tensor_merge.h"
#include "serving/api/response_format.h"

namespace graft::serving::api {
namespace {

constexpr int64_t kMaxU32 = std::numeric_limits<uint32_t>::max();

constexpr std::array kMergeMethods = {formats::MergeMethod::kLinear, formats::MergeMethod::kCat,
                                      formats::MergeMethod::kTies, formats::MergeMethod::kDareLinear,
                                      formats::MergeMethod::kDareTies};

formats::MergeMethod read_merge_method(Fields& fields) {
  const auto strategy = fields.text("merge_strategy");
  if (!strategy) return formats::MergeMethod::kLinear;
  for (const formats::MergeMethod method : kMergeMethods) {
    if (formats::merge_method_name(method) == *strategy) return method;
  }
  fields.fail("merge_strategy", "must be one of linear, cat, ties, dare_linear, dare_ties");
  return formats::MergeMethod::kLinear;
}

std::optional<ApiError> read_merged(const Json& value, NativeParameters& parameters) {
  Fields fields(value, "parameters.merged_adapters.");
  NativeParameters::Merged merged;
  merged.ids = fields.texts("ids").value_or(std::vector<std::string>{});
  if (const Json* weights = fields.array("weights"); weights != nullptr) {
    for (const Json& weight : *weights) {
      if (!weight.is_number() || !std::isfinite(weight.get<double>())) {
        fields.fail("weights", "must be an array of numbers");
        break;
      }
      merged.weights.push_back(weight.get<double>());
    }
  }
  merged.settings.method = read_merge_method(fields);
  const auto sign = fields.text("majority_sign_method");
  if (sign && *sign != "total" && *sign != "frequency") {
    fields.fail("majority_sign_method", "must be one of total, frequency");
  }
  if (sign && *sign == "frequency") merged.settings.majority_sign = formats::MajoritySign::kFrequency;
  merged.settings.density = fields.number("density").value_or(0);
  if (merged.settings.density < 0 || merged.settings.density > 1) fields.fail("density", "must be >= 0.0 and <= 1.0");
  parameters.merged_adapters = std::move(merged);
  return fields.error();
}

ApiResult<NativeParameters> parse_parameters(const Json& object) {
  Fields fields(object, "parameters.");
  NativeParameters p;
  p.adapter_id = fields.text("adapter_id");
  p.adapter_source = fields.text("adapter_source");
  p.api_token = fields.text("api_token");
  p.best_of = fields.integer("best_of");
  p.temperature = fields.number("temperature");
  p.repetition_penalty = fields.number("repetition_penalty");
  p.frequency_penalty = fields.number("frequency_penalty");
  p.presence_penalty = fields.number("presence_penalty");
  p.top_k = fields.integer("top_k", std::numeric_limits<int64_t>::min(), std::numeric_limits<int32_t>::max());
  p.top_p = fields.number("top_p");
  p.typical_p = fields.number("typical_p");
  p.do_sample = fields.flag("do_sample");
  p.max_new_tokens = fields.integer("max_new_tokens", std::numeric_limits<int64_t>::min(), kMaxU32);
  p.max_time = fields.number("max_time");
  p.ignore_eos_token = fields.flag("ignore_eos_token");
  p.return_full_text = fields.flag("return_full_text");
  p.stop = fields.texts("stop").value_or(std::vector<std::string>{});
  p.truncate = fields.integer("truncate");
  p.watermark = fields.flag("watermark");
  p.details = fields.flag("details");
  p.decoder_input_details = fields.flag("decoder_input_details");
  p.return_k_alternatives = fields.integer("return_k_alternatives");
  p.apply_chat_template = fields.flag("apply_chat_template");
  p.seed = fields.unsigned_integer("seed");
  const Json* merged = fields.object("merged_adapters");
  if (fields.error()) return *fields.error();
  if (merged != nullptr) {
    if (auto error = read_merged(*merged, p)) return *error;
  }
  return p;
}

}  // namespace

ApiResult<NativeRequest> parse_native(const Json& body, std::string_view text) {
  Fields fields(body);
  NativeRequest request;
  const auto inputs = fields.text("inputs");
  const Json* parameters = fields.object("parameters");
  request.stream = fields.flag("stream");
  if (!inputs) fields.fail("inputs", "is missing");
  if (fields.error()) return *fields.error();
  request.inputs = *inputs;
  if (parameters != nullptr) {
    GRAFT_TRY(request.parameters, parse_parameters(*parameters));
    GRAFT_TRY(request.parameters.constraint, response_format_of(text, "parameters"));
  }
  return request;
}

}  // namespace graft::serving::api
