#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/result.h"
#include "net/http.h"

namespace graft::serving::api {

// What can go wrong with a request. LoRAX and OpenAI name the same failures differently: see the two functions below.
enum class Failure {
  kMalformed,    // the body is no JSON at all
  kValidation,   // a field is missing, of the wrong type or out of range
  kTemplate,     // the chat template is missing, or refused the messages
  kNotFound,     // no such model or adapter
  kBadAdapter,   // it exists, but cannot be served: broken, or made for another model
  kUnavailable,  // the place that an adapter comes from does not answer
  kGeneration,   // accepted, then failed
  kOverloaded,
  kTimeout,     // its time was up before the first token
  kIncomplete,  // cancelled before it was whole
  kUnhealthy,
  kInternal,
};

struct ApiError {
  Failure failure = Failure::kInternal;
  std::string message;                 // without LoRAX's prefixes
  std::string param;                   // the field at fault, where there is one
  std::chrono::seconds retry_after{};  // kOverloaded: sent as Retry-After; 0: not known
};

inline ApiError bad_field(std::string message, std::string param = {}) {
  return {Failure::kValidation, std::move(message), std::move(param), {}};
}

// A value or an ApiError; GRAFT_TRY works with it.
template <class T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  ApiResult(ApiError error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] const ApiError& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, ApiError> state_;
};

ApiError from_submit(const Error& error);      // Engine::submit refused it
ApiError from_generation(const Error& error);  // GenerationSink::on_error

// LoRAX: status, {"error", "error_type"}.
int lorax_status(const ApiError& error);
std::string_view lorax_error_type(Failure failure);
std::string lorax_body(const ApiError& error);
net::Response lorax_response(const ApiError& error);

// OpenAI: status, {"error": {"message", "type", "param", "code"}}.
int openai_status(const ApiError& error);
std::string openai_body(const ApiError& error);
net::Response openai_response(const ApiError& error);

// The HTTP server's own errors (404, 413, ...), in the form that clients of this path expect.
net::Response http_error_response(std::string_view path, int status, std::string_view message);

}  // namespace graft::serving::api
