#include "serving/api/native_request.h"

#include <limits>
#include <utility>

#include "serving/api/response_format.h"

namespace graft::serving::api {
namespace {

constexpr int64_t kMaxU32 = std::numeric_limits<uint32_t>::max();

std::optional<ApiError> read_merged(const Json& value, NativeParameters& parameters) {
  Fields fields(value, "parameters.merged_adapters.");
  const auto ids = fields.texts("ids");
  const Json* weights = fields.array("weights");
  if (weights != nullptr) {
    for (const Json& weight : *weights) {
      if (!weight.is_number()) fields.fail("weights", "must be an array of numbers");
    }
  }
  const auto strategy = fields.text("merge_strategy");
  if (strategy && *strategy != "linear" && *strategy != "ties" && *strategy != "dare_linear" &&
      *strategy != "dare_ties") {
    fields.fail("merge_strategy", "must be one of linear, ties, dare_linear, dare_ties");
  }
  const auto method = fields.text("majority_sign_method");
  if (method && *method != "total" && *method != "frequency") {
    fields.fail("majority_sign_method", "must be one of total, frequency");
  }
  const auto density = fields.number("density");
  if (density && (*density < 0 || *density > 1)) fields.fail("density", "must be >= 0.0 and <= 1.0");
  parameters.merged_adapters = {ids ? ids->size() : 0, weights != nullptr ? weights->size() : 0};
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
