#include "serving/api/openai_request.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/strings.h"
#include "fmt/format.h"
#include "serving/api/caller.h"
#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

double number_within(Fields& fields, const char* name, double fallback, double min, double max) {
  const auto value = fields.number(name);
  if (value && (*value < min || *value > max)) fields.fail(name, fmt::format("must be >= {} and <= {}", min, max));
  return value.value_or(fallback);
}

std::optional<int32_t> parse_token_id(const std::string& text, int32_t vocab_size) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0 || id >= vocab_size) return std::nullopt;
  return id;
}

std::vector<std::pair<int32_t, float>> read_logit_bias(const ApiContext& context, Fields& fields) {
  std::vector<std::pair<int32_t, float>> out;
  const Json* object = fields.object("logit_bias");
  if (object == nullptr) return out;
  for (const auto& [key, value] : object->items()) {
    const auto id = parse_token_id(key, context.tokenizer->vocab_size());
    if (!id) {
      fields.fail("logit_bias", fmt::format("must map token ids to numbers; \"{}\" is no token id", printable(key)));
    } else if (!value.is_number() || value.get<double>() < -100 || value.get<double>() > 100) {
      fields.fail("logit_bias", fmt::format("of token {} must be a number >= -100 and <= 100", key));
    } else {
      out.emplace_back(*id, value.get<float>());
    }
  }
  return out;
}

runtime::SamplingParams read_sampling(const ApiContext& context, Fields& fields) {
  runtime::SamplingParams sampling;
  sampling.temperature = number_within(fields, "temperature", 1, 0, 2);
  sampling.top_p = number_within(fields, "top_p", 1, 0, 1);
  sampling.frequency_penalty = number_within(fields, "frequency_penalty", 0, -2, 2);
  sampling.presence_penalty = number_within(fields, "presence_penalty", 0, -2, 2);
  const auto repetition = fields.number("repetition_penalty");
  if (repetition && *repetition <= 0) fields.fail("repetition_penalty", "must be strictly positive");
  sampling.repetition_penalty = repetition.value_or(1);
  const auto top_k = fields.integer("top_k", std::numeric_limits<int64_t>::min(), std::numeric_limits<int32_t>::max());
  if (top_k && *top_k <= 0) fields.fail("top_k", "must be strictly positive");
  sampling.top_k = static_cast<int32_t>(top_k.value_or(0));
  sampling.logit_bias = read_logit_bias(context, fields);
  // Both zeros leave one token to choose from.
  sampling.greedy = sampling.temperature == 0 || sampling.top_p == 0;
  if (sampling.greedy) {
    sampling.temperature = 1;
    sampling.top_p = 1;
  }
  return sampling;
}

std::vector<std::string> read_stop(const ApiContext& context, Fields& fields) {
  auto stop = fields.text_or_texts("stop").value_or(std::vector<std::string>{});
  if (stop.size() > static_cast<size_t>(context.config.max_stop_sequences)) {
    fields.fail("stop", fmt::format("supports up to {} stop sequences. Given: {}", context.config.max_stop_sequences,
                                    stop.size()));
  }
  if (std::find(stop.begin(), stop.end(), "") != stop.end()) fields.fail("stop", "cannot hold an empty stop sequence");
  return stop;
}

// OpenAI's seed is a signed integer; LoRAX's an unsigned one.
std::optional<uint64_t> read_seed(Fields& fields) {
  const Json* value = fields.any("seed");
  if (value != nullptr && value->is_number_unsigned()) return value->get<uint64_t>();
  const auto seed = fields.integer("seed");
  return seed ? std::optional(static_cast<uint64_t>(*seed)) : std::nullopt;
}

void refuse_unsupported(Fields& fields) {
  const Json* functions = fields.any("functions");
  if (functions != nullptr && !(functions->is_array() && functions->empty())) {
    fields.fail("functions", "are the older form of `tools`: use that");
  }
}

}  // namespace

ApiResult<OpenAiRequest> parse_openai(const ApiContext& context, Fields& fields) {
  OpenAiRequest request;
  request.model = fields.text("model").value_or("");
  request.adapter_source = fields.text("adapter_source").value_or("");
  request.api_token = fields.text("api_token").value_or("");
  request.choices = fields.integer("n", 1, context.config.max_choices).value_or(1);
  request.max_tokens = fields.integer("max_tokens", 0, std::numeric_limits<int32_t>::max());
  const auto max_time = fields.number("max_time");
  const auto newer = fields.integer("max_completion_tokens", 0, std::numeric_limits<int32_t>::max());
  if (newer) request.max_tokens = newer;
  request.stop = read_stop(context, fields);
  request.stream = fields.flag("stream");
  request.ignore_eos = fields.flag("ignore_eos_token");
  request.seed = read_seed(fields);
  request.sampling = read_sampling(context, fields);
  refuse_unsupported(fields);
  const Json* options = fields.object("stream_options");
  if (options != nullptr && !request.stream) fields.fail("stream_options", "may only be given when `stream` is true");
  if (fields.error()) return *fields.error();
  GRAFT_TRY(request.max_time, read_max_time(max_time, "max_time"));
  if (options != nullptr) {
    Fields inner(*options, "stream_options.");
    request.include_usage = inner.flag("include_usage");
    if (inner.error()) return *inner.error();
  }
  return request;
}

ApiResult<GenerationRequest> to_generation(const ApiContext& context, const OpenAiRequest& asked,
                                           std::vector<int32_t> prompt, std::optional<int64_t> max_tokens) {
  const int64_t total = context.engine->limits().max_total_tokens;
  const auto length = static_cast<int64_t>(prompt.size());
  if (length == 0) return bad_field("the prompt has no tokens", "prompt");
  if (length > context.config.max_input_length || length + max_tokens.value_or(1) > total) {
    return bad_field(
        fmt::format("this model's context is {} tokens, but the prompt has {} and `max_tokens` asks for {}; "
                    "shorten one of them",
                    total, length, max_tokens.value_or(1)),
        "max_tokens");
  }
  GenerationRequest request;
  GRAFT_TRY(request.adapter, context.adapters.resolve(asked.model, asked.adapter_source, "model", asked.api_token));
  request.prompt = std::move(prompt);
  request.max_new_tokens = static_cast<int32_t>(std::max<int64_t>(1, max_tokens.value_or(total - length)));
  request.stop = asked.stop;
  request.ignore_eos = asked.ignore_eos;
  request.sampling = asked.sampling;
  request.max_time = asked.max_time;
  return request;
}

void append_choices(std::vector<GenerationRequest>& out, const GenerationRequest& request, std::optional<uint64_t> seed,
                    int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(request);
    out.back().sampling.seed = seed ? *seed + static_cast<uint64_t>(i) : random_seed();
  }
}

}  // namespace graft::serving::api
