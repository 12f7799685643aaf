#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/model_spec.h"

namespace graft::model {

// The seven projections of a decoder layer. Those that share an input run as one fused product.
enum class Projection { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr std::array<Projection, 7> kProjections = {Projection::kQ,   Projection::kK,    Projection::kV,
                                                           Projection::kO,   Projection::kGate, Projection::kUp,
                                                           Projection::kDown};

// The fused products: qkv, o, gate_up, down.
enum Linear : uint8_t { kQkv, kOut, kGateUp, kDownLinear };
inline constexpr size_t kLinears = 4;

struct ProjectionPlace {
  Linear linear;
  int64_t part;  // within the fused product
};
ProjectionPlace place_of(Projection projection);

std::string_view projection_name(Projection projection);  // "self_attn.q_proj", within the layer
std::optional<Projection> projection_from_name(std::string_view name);
std::string module_path(int64_t layer, Projection projection);  // "model.layers.3.self_attn.q_proj"

int64_t in_features(const formats::ModelSpec& spec, Projection projection);
int64_t out_features(const formats::ModelSpec& spec, Projection projection);

}  // namespace graft::model
