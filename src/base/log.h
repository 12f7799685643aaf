#pragma once

#include <spdlog/spdlog.h>

#include "base/result.h"

namespace graft {

// Logs go to stderr, so that stdout holds data only. Call once at the start of main. The level comes from GRAFT_LOG:
// trace, debug, info (default), warn, error or off.
Status init_log();

template <class... Args>
void log_debug(spdlog::format_string_t<Args...> format, Args&&... args) {
  spdlog::debug(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(spdlog::format_string_t<Args...> format, Args&&... args) {
  spdlog::info(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(spdlog::format_string_t<Args...> format, Args&&... args) {
  spdlog::warn(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(spdlog::format_string_t<Args...> format, Args&&... args) {
  spdlog::error(format, std::forward<Args>(args)...);
}

}  // namespace graft
