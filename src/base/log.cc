#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/strings.h"

namespace graft {
namespace {

struct LevelName {
  std::string_view name;
  spdlog::level::level_enum level;
};

constexpr std::array kLevels = {
    LevelName{"trace", spdlog::level::trace}, LevelName{"debug", spdlog::level::debug},
    LevelName{"info", spdlog::level::info},   LevelName{"warn", spdlog::level::warn},
    LevelName{"error", spdlog::level::err},   LevelName{"off", spdlog::level::off},
};

}  // namespace

Status init_log() {
  auto logger = std::make_shared<spdlog::logger>("graft", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(logger);
  const char* wanted = std::getenv("GRAFT_LOG");
  if (wanted == nullptr || *wanted == '\0') return {};
  std::vector<std::string> names;
  for (const LevelName& entry : kLevels) {
    if (entry.name == wanted) {
      logger->set_level(entry.level);
      return {};
    }
    names.emplace_back(entry.name);
  }
  return invalid("GRAFT_LOG: unknown level '" + std::string(wanted) + "'" + suggestion(wanted, names));
}

}  // namespace graft
