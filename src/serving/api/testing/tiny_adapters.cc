#include "serving/api/testing/tiny_adapters.h"

#include <deque>
#include <random>
#include <stdexcept>
#include <vector>

#include "formats/peft_adapter.h"
#include "formats/tiny_spec.h"

namespace graft::serving::api::testing {

formats::ModelSpec tiny_base() { return formats::tiny_spec(2); }

void write_tiny_adapter(const std::filesystem::path& directory, int64_t rank, unsigned seed) {
  formats::PeftConfig config;
  config.r = rank;
  config.lora_alpha = 2 * static_cast<double>(rank);
  config.target_modules.names = {"q_proj", "v_proj"};
  std::mt19937 random(seed);
  std::deque<std::vector<float>> values;
  const auto some = [&](int64_t size) -> const std::vector<float>& {
    auto& made = values.emplace_back(static_cast<size_t>(size));
    for (float& value : made) value = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
    return made;
  };
  std::vector<formats::AdapterFactors> factors;
  const auto slots = formats::adapter_slots(config, tiny_base());
  for (const auto& slot : slots.value()) {
    const auto& a = some(slot.r * slot.in);
    const auto& b = some(slot.out * slot.r);
    factors.push_back({slot.path, slot.r, slot.in, slot.out, a, b});
  }
  const Status written = formats::write_peft_adapter(directory, config, factors);
  if (!written.ok()) throw std::runtime_error(written.error().message);
}

}  // namespace graft::serving::api::testing
