// libFuzzer: the bytes are a config.json.

#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "base/log.h"
#include "formats/hf_config.h"
#include "formats/model_layout.h"
#include "formats/model_spec_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    spdlog::set_level(spdlog::level::off);
    return true;
  }();
  static_cast<void>(quiet);
  const std::string text(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const auto config = graft::parse_json(text);
  if (!config.ok()) return 0;
  const auto spec = graft::formats::spec_from_hf_config(*config, {});
  if (!spec.ok()) return 0;
  if (spec->parameter_count() < 1) std::abort();
  const auto again = graft::formats::spec_from_json(graft::formats::spec_to_json(*spec));
  if (!again.ok() || again->parameter_count() != spec->parameter_count()) std::abort();
  return 0;
}
