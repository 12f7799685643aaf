#pragma once

#include <arrow/result.h>
#include <arrow/status.h>

#include <string>

#include "base/result.h"
#include "base/strings.h"

// Arrow's errors as ours.
namespace graft::arrow_library {

inline Error to_error(const ::arrow::Status& status) {
  const std::string message = printable(status.message(), 300);
  if (status.IsIOError()) return io_error(message);
  if (status.IsOutOfMemory()) return invalid("needs more memory than its size explains: " + message);
  if (status.IsNotImplemented()) return unsupported(message);
  return invalid(message);
}

}  // namespace graft::arrow_library

// GRAFT_ARROW_TRY(auto x, arrow_call());   as GRAFT_TRY, for what gives an arrow::Result.
#define GRAFT_ARROW_TRY(decl, expr) GRAFT_ARROW_TRY_IMPL(GRAFT_CONCAT(graft_arrow_, __LINE__), decl, expr)
#define GRAFT_ARROW_TRY_IMPL(tmp, decl, expr)                             \
  auto tmp = (expr);                                                      \
  if (!tmp.ok()) return ::graft::arrow_library::to_error((tmp).status()); \
  decl = std::move(tmp).ValueUnsafe()

// As GRAFT_CHECK_OK, for what gives an arrow::Status.
#define GRAFT_ARROW_OK(expr)                                             \
  do {                                                                   \
    if (const ::arrow::Status graft_status = (expr); !graft_status.ok()) \
      return ::graft::arrow_library::to_error(graft_status);             \
  } while (false)
