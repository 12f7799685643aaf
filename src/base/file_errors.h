#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "base/result.h"

namespace graft {

// "cannot read PATH: No such file or directory", with the kind that fits the system's error number.
inline Error system_error(std::string_view what, const std::filesystem::path& path, int number) {
  Error error = io_error(std::string(what) + " " + path.string() + ": " + std::generic_category().message(number));
  if (number == ENOENT || number == ENOTDIR) error.kind = ErrorKind::kNotFound;
  if (number == ENOSPC || number == EDQUOT) error.message += "; free some space and try again";
  return error;
}

}  // namespace graft
