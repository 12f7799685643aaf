#include "serving/api/native_validation.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "formats/tensor_merge.h"
#include "serving/api/caller.h"
#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

using Problem = std::optional<ApiError>;

constexpr size_t kMaxMerged = 64;

Problem problem(const char* field, const std::string& rest) {
  return bad_field(fmt::format("`{}` {}", field, rest), fmt::format("parameters.{}", field));
}

Problem check_streaming(const NativeParameters& p) {
  if (p.best_of.value_or(1) != 1) return problem("best_of", "!= 1 is not supported when streaming tokens");
  if (p.decoder_input_details) {
    return problem("decoder_input_details", "== true is not supported when streaming tokens");
  }
  return {};
}

Problem check_adapters(const NativeParameters& p) {
  if (!p.merged_adapters) return {};
  const std::string field = "parameters.merged_adapters";
  if (p.adapter_id) return bad_field("at most one of `adapter_id` or `adapters` may be provided", field);
  const NativeParameters::Merged& merged = *p.merged_adapters;
  if (merged.ids.empty()) {
    return bad_field("at least one adapter ID must be provided when setting `adapters`", field);
  }
  if (merged.ids.size() != merged.weights.size()) {
    return bad_field("number of adapter IDs must match number of adapter weights", field);
  }
  if (merged.ids.size() > kMaxMerged) {
    return bad_field(fmt::format("`adapters` supports up to {} adapters. Given: {}", kMaxMerged, merged.ids.size()),
                     field);
  }
  // LoRAX's default of 0 would drop everything, and with it what the client asked for.
  const auto method = merged.settings.method;
  const bool prunes = method != formats::MergeMethod::kLinear && method != formats::MergeMethod::kCat;
  if (prunes && merged.ids.size() > 1 && merged.settings.density == 0) {
    return bad_field(
        fmt::format("`density` must be > 0.0 and <= 1.0 for merge_strategy {}", formats::merge_method_name(method)),
        field + ".density");
  }
  return {};
}

Problem check_best_of(const NativeParameters& p, const ApiConfig& config) {
  const int64_t best_of = p.best_of.value_or(1);
  if (best_of < 1 || best_of > config.max_best_of) {
    if (config.max_best_of == 1 && best_of > 1) return problem("best_of", "!= 1 is not allowed for this endpoint");
    return problem("best_of", fmt::format("must be > 0 and <= {}. Given: {}", config.max_best_of, best_of));
  }
  const bool sampling = p.do_sample || p.temperature || p.top_k || p.top_p || p.typical_p;
  if (best_of > 1 && !sampling) {
    return bad_field("you must use sampling when `best_of` is > 1", "parameters.best_of");
  }
  return {};
}

Problem check_sampling(const NativeParameters& p, const ApiConfig& config) {
  if (p.temperature.value_or(1) < 0) return problem("temperature", "must be non-negative");
  if (p.repetition_penalty.value_or(1) <= 0) return problem("repetition_penalty", "must be strictly positive");
  const auto within_two = [](double value) { return value >= -2 && value <= 2; };
  if (!within_two(p.frequency_penalty.value_or(0))) return problem("frequency_penalty", "must be >= -2.0 and <= 2.0");
  if (!within_two(p.presence_penalty.value_or(0))) return problem("presence_penalty", "must be >= -2.0 and <= 2.0");
  if (p.top_p && (*p.top_p <= 0 || *p.top_p > 1)) return problem("top_p", "must be > 0.0 and < 1.0");
  if (p.typical_p && (*p.typical_p <= 0 || *p.typical_p >= 1)) return problem("typical_p", "must be > 0.0 and < 1.0");
  if (p.top_k.value_or(1) <= 0) return problem("top_k", "must be strictly positive");
  if (p.return_k_alternatives.value_or(1) <= 0) return problem("return_k_alternatives", "must be strictly positive");
  if (p.return_k_alternatives.value_or(1) > config.max_alternatives) {
    return problem("return_k_alternatives",
                   fmt::format("must be <= {}. Given: {}", config.max_alternatives, *p.return_k_alternatives));
  }
  return {};
}

Problem check_output(const NativeParameters& p, const ApiConfig& config) {
  if (p.max_new_tokens.value_or(1) <= 0) return problem("max_new_tokens", "must be strictly positive");
  if (p.stop.size() > static_cast<size_t>(config.max_stop_sequences)) {
    return problem(
        "stop", fmt::format("supports up to {} stop sequences. Given: {}", config.max_stop_sequences, p.stop.size()));
  }
  if (std::find(p.stop.begin(), p.stop.end(), "") != p.stop.end()) {
    return problem("stop", "cannot hold an empty stop sequence");
  }
  if (p.seed && p.best_of.value_or(1) > 1) {
    return bad_field("`seed` must not be set when `best_of` > 1", "parameters.seed");
  }
  if (p.watermark) return problem("watermark", "is not supported");
  return {};
}

Problem check_input(const NativeRequest& request, const ApiConfig& config) {
  if (request.inputs.empty()) return bad_field("`inputs` cannot be empty", "inputs");
  const auto truncate = request.parameters.truncate;
  if (truncate && (*truncate <= 0 || *truncate > config.max_input_length)) {
    return problem("truncate", fmt::format("must be strictly positive and less than {}. Given: {}",
                                           config.max_input_length, *truncate));
  }
  return {};
}

Problem check_all(const ApiContext& context, const NativeRequest& request, bool streaming) {
  const NativeParameters& p = request.parameters;
  Problem found = streaming ? check_streaming(p) : Problem{};
  if (!found) found = check_best_of(p, context.config);
  if (!found) found = check_adapters(p);
  if (!found) found = check_sampling(p, context.config);
  if (!found) found = check_output(p, context.config);
  if (!found) found = check_input(request, context.config);
  return found;
}

// The seed of the request also names what DARE drops, so that a merge is a function of the request.
ApiResult<AdapterMerge> merge_of(const ApiContext& context, const NativeParameters& p) {
  const NativeParameters::Merged& merged = *p.merged_adapters;
  AdapterMerge merge{{}, merged.weights, merged.settings};
  merge.settings.seed = p.seed.value_or(0);
  for (const std::string& id : merged.ids) {
    const std::string field = "parameters.merged_adapters.ids";
    GRAFT_TRY(AdapterRef ref,
              context.adapters.resolve(id, p.adapter_source.value_or(""), field, p.api_token.value_or("")));
    if (ref.id.empty()) return bad_field("`adapters` must not name the base model", field);
    merge.adapters.push_back(std::move(ref));
  }
  return merge;
}

// As text-generation-inference decides it: asked for, or implied by a setting that shapes the distribution.
bool samples(const NativeParameters& p) {
  const double temperature = p.temperature.value_or(1);
  const bool shaped = temperature != 1 || p.top_k || p.top_p.value_or(1) < 1 || p.typical_p.value_or(1) < 1;
  return temperature != 0 && (p.do_sample || shaped);
}

runtime::SamplingParams sampling_of(const NativeParameters& p) {
  runtime::SamplingParams sampling;
  sampling.greedy = !samples(p);
  if (!sampling.greedy) {
    sampling.temperature = p.temperature.value_or(1);
    sampling.top_k = static_cast<int32_t>(p.top_k.value_or(0));
    sampling.top_p = p.top_p.value_or(1);
    sampling.typical_p = p.typical_p.value_or(1);
    sampling.seed = p.seed ? *p.seed : random_seed();
  }
  sampling.repetition_penalty = p.repetition_penalty.value_or(1);
  sampling.frequency_penalty = p.frequency_penalty.value_or(0);
  sampling.presence_penalty = p.presence_penalty.value_or(0);
  return sampling;
}

ApiResult<std::vector<int32_t>> prompt_of(const ApiContext& context, const NativeRequest& request) {
  std::vector<int32_t> ids;
  if (request.parameters.apply_chat_template) {
    OrderedJson messages = OrderedJson::array();
    messages.push_back({{"role", "user"}, {"content", request.inputs}});
    GRAFT_TRY(ids, tokenize_chat(context, {std::move(messages), {}, {}, {}}));
  } else {
    ids = tokenize_raw(context, request.inputs);
  }
  const auto keep = static_cast<size_t>(request.parameters.truncate.value_or(0));
  if (keep > 0 && ids.size() > keep) ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(keep));
  return ids;
}

}  // namespace

ApiResult<NativePlan> plan_native(const ApiContext& context, const NativeRequest& request, bool streaming) {
  if (auto found = check_all(context, request, streaming)) return *found;
  const NativeParameters& p = request.parameters;
  NativePlan plan;
  GenerationRequest& out = plan.request;
  if (p.merged_adapters) {
    GRAFT_TRY(plan.merge, merge_of(context, p));
  } else {
    GRAFT_TRY(out.adapter, context.adapters.resolve(p.adapter_id.value_or(""), p.adapter_source.value_or(""),
                                                    "parameters.adapter_id", p.api_token.value_or("")));
  }
  GRAFT_TRY(out.prompt, prompt_of(context, request));
  GRAFT_TRY(out.max_new_tokens, check_lengths(context, out.prompt.size(), p.max_new_tokens));
  GRAFT_TRY(out.max_time, read_max_time(p.max_time, "parameters.max_time"));
  out.stop = p.stop;
  out.ignore_eos = p.ignore_eos_token;
  out.prompt_logprobs = p.decoder_input_details;
  out.num_alternatives = static_cast<int32_t>(p.return_k_alternatives.value_or(0));
  out.sampling = sampling_of(p);
  plan.sampling = !out.sampling.greedy;
  plan.best_of = static_cast<int32_t>(p.best_of.value_or(1));
  out.logprobs = streaming || plan.best_of > 1 || p.details || p.decoder_input_details;
  return plan;
}

}  // namespace graft::serving::api
