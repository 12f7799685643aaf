// libFuzzer: the bytes are an adapter_config.json. What is read must be written so that it reads the same again, and
// must pick modules of a small model without harm.

#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "formats/hf_config.h"
#include "formats/peft_config.h"

namespace {

graft::formats::ModelSpec small_model() {
  const auto config = nlohmann::json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
      "max_position_embeddings": 16, "rms_norm_eps": 1e-5})");
  auto spec = graft::formats::spec_from_hf_config(config, {});
  if (!spec.ok()) std::abort();
  return *spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const graft::formats::ModelSpec base = [] {
    spdlog::set_level(spdlog::level::off);
    return small_model();
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const auto config = graft::formats::parse_peft_config(text);
  if (!config.ok()) return 0;
  const std::string written = graft::formats::peft_config_json(*config);
  const auto again = graft::formats::parse_peft_config(written);
  if (!again.ok() || graft::formats::peft_config_json(*again) != written) std::abort();
  const auto slots = graft::formats::adapter_slots(*config, base);
  const auto same = graft::formats::adapter_slots(*again, base);
  if (slots.ok() != same.ok() || (slots.ok() && slots->size() != same->size())) std::abort();
  return 0;
}
