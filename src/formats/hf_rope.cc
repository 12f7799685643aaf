#include "formats/hf_rope.h"

#include <cmath>

#include "base/strings.h"

namespace graft::formats {
namespace {

using nlohmann::json;

Status read_llama3(const JsonFields& scaling, RopeSpec& rope, int64_t max_position) {
  rope.kind = RopeKind::kLlama3;
  GRAFT_TRY(rope.low_freq_factor, scaling.number("low_freq_factor"));
  GRAFT_TRY(rope.high_freq_factor, scaling.number("high_freq_factor"));
  GRAFT_TRY(rope.original_max_position, scaling.integer_or("original_max_position_embeddings", max_position));
  return {};
}

Status read_yarn(const JsonFields& scaling, RopeSpec& rope, int64_t max_position) {
  rope.kind = RopeKind::kYarn;
  GRAFT_TRY(rope.beta_fast, scaling.number_or("beta_fast", 32));
  GRAFT_TRY(rope.beta_slow, scaling.number_or("beta_slow", 1));
  GRAFT_TRY(rope.mscale, scaling.number_or("mscale", 0));
  GRAFT_TRY(rope.mscale_all_dim, scaling.number_or("mscale_all_dim", 0));
  GRAFT_TRY(rope.truncate, scaling.boolean_or("truncate", true));
  GRAFT_TRY(rope.original_max_position, scaling.integer_or("original_max_position_embeddings", max_position));
  return {};
}

// The original context stands beside rope_scaling, and the factor is then the ratio of the two.
Status read_longrope(const JsonFields& fields, const JsonFields& scaling, RopeSpec& rope, int64_t max_position) {
  rope.kind = RopeKind::kLongRope;
  GRAFT_TRY(rope.short_factor, scaling.numbers("short_factor"));
  GRAFT_TRY(rope.long_factor, scaling.numbers("long_factor"));
  GRAFT_TRY(const int64_t inside, scaling.integer_or("original_max_position_embeddings", 0));
  GRAFT_TRY(rope.original_max_position, fields.integer_or("original_max_position_embeddings", inside));
  if (rope.original_max_position == 0) {
    rope.original_max_position = max_position;
    GRAFT_TRY(rope.factor, scaling.number_or("factor", 1));
    return {};
  }
  rope.factor = static_cast<double>(max_position) / static_cast<double>(rope.original_max_position);
  return {};
}

Result<RopeSpec> read_scaling(const JsonFields& fields, const JsonFields& scaling, RopeSpec rope,
                              int64_t max_position) {
  GRAFT_TRY(const std::string old_type, scaling.text_or("type", "default"));
  GRAFT_TRY(const std::string type, scaling.text_or("rope_type", old_type));
  GRAFT_TRY(rope.theta, scaling.number_or("rope_theta", rope.theta));
  if (type == "default") return rope;
  if (scaling.has("attention_factor")) {
    GRAFT_TRY(rope.attention_factor, scaling.number("attention_factor"));
  }
  if (type == "longrope" || type == "su") {
    GRAFT_CHECK_OK(read_longrope(fields, scaling, rope, max_position));
    return rope;
  }
  const bool known = type == "linear" || type == "dynamic" || type == "llama3" || type == "yarn";
  if (!known) {
    return unsupported("rope type '" + printable(type) +
                       "' is not supported; supported: default, linear, dynamic, llama3, yarn, longrope");
  }
  GRAFT_TRY(rope.factor, scaling.number("factor"));
  if (type == "linear") rope.kind = RopeKind::kLinear;
  if (type == "dynamic") rope.kind = RopeKind::kDynamic;
  if (type == "llama3") GRAFT_CHECK_OK(read_llama3(scaling, rope, max_position));
  if (type == "yarn") GRAFT_CHECK_OK(read_yarn(scaling, rope, max_position));
  return rope;
}

}  // namespace

Result<RopeSpec> read_hf_rope(const JsonFields& fields, const Family& family, const ModelSpec& sizes) {
  RopeSpec rope;
  rope.interleaved = family.interleaved_rope;
  GRAFT_TRY(rope.theta, fields.number_or(std::string(family.theta_key), family.default_theta));
  if (!family.partial_key.empty()) {
    const std::string key(family.partial_key);
    GRAFT_TRY(const double share, fields.number_or(key, family.default_partial));
    if (!(share > 0 && share <= 1)) return invalid("key '" + key + "' must lie between 0 and 1");
    const auto turning = static_cast<int64_t>(static_cast<double>(sizes.head_dim) * share);
    rope.rotary_dim = turning == sizes.head_dim ? 0 : turning;
    if (turning == 0) return invalid("key '" + key + "' leaves nothing of a head to turn");
  }
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const json* scaling = fields.find(key);
    if (scaling == nullptr) continue;
    if (!scaling->is_object()) return invalid("key '" + key + "' must be an object");
    auto read = read_scaling(fields, JsonFields(*scaling), rope, sizes.max_position);
    if (!read.ok()) return at("key '" + key + "'", read.error());
    return read;
  }
  return rope;
}

}  // namespace graft::formats
