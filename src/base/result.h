#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace graft {

// What went wrong, coarse enough to pick an exit code or an HTTP status.
enum class ErrorKind {
  kInvalid,      // the caller's input is wrong: bad config, bad file, bad request
  kNotFound,     // a named thing does not exist
  kConflict,     // it exists already, or belongs to something else
  kUnsupported,  // well-formed, but this build cannot honour it
  kOverloaded,   // try again later: queue full, out of memory blocks
  kCancelled,    // the caller went away or asked to stop
  kIo,           // the operating system said no: permissions, full disk, port in use
  kInternal,     // our fault
};

// One line for a person: what failed, where, and what to do about it.
struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
};

// Expected failures are values. Exceptions of wrapped libraries are turned into an Error at the room's edge.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    assert(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

inline Error invalid(std::string message) { return {ErrorKind::kInvalid, std::move(message)}; }
inline Error not_found(std::string message) { return {ErrorKind::kNotFound, std::move(message)}; }
inline Error conflict(std::string message) { return {ErrorKind::kConflict, std::move(message)}; }
inline Error unsupported(std::string message) { return {ErrorKind::kUnsupported, std::move(message)}; }
inline Error overloaded(std::string message) { return {ErrorKind::kOverloaded, std::move(message)}; }
inline Error cancelled(std::string message) { return {ErrorKind::kCancelled, std::move(message)}; }
inline Error io_error(std::string message) { return {ErrorKind::kIo, std::move(message)}; }
inline Error internal_error(std::string message) { return {ErrorKind::kInternal, std::move(message)}; }

// Puts the place in front of a message that was made further down: "FILE: message".
inline Error at(const std::string& place, Error error) {
  error.message = place + ": " + error.message;
  return error;
}

#define GRAFT_CONCAT_INNER(a, b) a##b
#define GRAFT_CONCAT(a, b) GRAFT_CONCAT_INNER(a, b)

// GRAFT_TRY(auto x, compute());   returns the error from the enclosing function, or binds the value.
#define GRAFT_TRY(decl, expr) GRAFT_TRY_IMPL(GRAFT_CONCAT(graft_try_, __LINE__), decl, expr)
#define GRAFT_TRY_IMPL(tmp, decl, expr) \
  auto tmp = (expr);                    \
  if (!tmp.ok()) return tmp.error();    \
  decl = std::move(tmp).value()

// GRAFT_CHECK_OK(save());   returns the error of a Status from the enclosing function.
#define GRAFT_CHECK_OK(expr)                                                         \
  do {                                                                               \
    if (auto graft_status = (expr); !graft_status.ok()) return graft_status.error(); \
  } while (false)

}  // namespace graft
