#include "model/projections.h"

namespace graft::model {

ProjectionPlace place_of(Projection projection) {
  switch (projection) {
    case Projection::kQ:
      return {kQkv, 0};
    case Projection::kK:
      return {kQkv, 1};
    case Projection::kV:
      return {kQkv, 2};
    case Projection::kO:
      return {kOut, 0};
    case Projection::kGate:
      return {kGateUp, 0};
    case Projection::kUp:
      return {kGateUp, 1};
    case Projection::kDown:
      return {kDownLinear, 0};
  }
  return {kQkv, 0};
}

std::string_view projection_name(Projection projection) {
  switch (projection) {
    case Projection::kQ:
      return "self_attn.q_proj";
    case Projection::kK:
      return "self_attn.k_proj";
    case Projection::kV:
      return "self_attn.v_proj";
    case Projection::kO:
      return "self_attn.o_proj";
    case Projection::kGate:
      return "mlp.gate_proj";
    case Projection::kUp:
      return "mlp.up_proj";
    case Projection::kDown:
      return "mlp.down_proj";
  }
  return "";
}

std::optional<Projection> projection_from_name(std::string_view name) {
  for (const Projection projection : kProjections) {
    if (projection_name(projection) == name) return projection;
  }
  return std::nullopt;
}

std::string module_path(int64_t layer, Projection projection) {
  return "model.layers." + std::to_string(layer) + "." + std::string(projection_name(projection));
}

int64_t in_features(const formats::ModelSpec& spec, Projection projection) {
  if (projection == Projection::kO) return spec.num_heads * spec.head_dim;
  return projection == Projection::kDown ? spec.intermediate_size : spec.hidden_size;
}

int64_t out_features(const formats::ModelSpec& spec, Projection projection) {
  switch (projection) {
    case Projection::kQ:
      return spec.num_heads * spec.head_dim;
    case Projection::kK:
    case Projection::kV:
      return spec.num_kv_heads * spec.head_dim;
    case Projection::kGate:
    case Projection::kUp:
      return spec.intermediate_size;
    case Projection::kO:
    case Projection::kDown:
      return spec.hidden_size;
  }
  return 0;
}

}  // namespace graft::model
