#include "serving/api/api_error.h"

#include "serving/api/json_text.h"

namespace graft::serving::api {
namespace {

std::string lorax_message(const ApiError& error) {
  switch (error.failure) {
    case Failure::kMalformed:
    case Failure::kValidation:
      return "Input validation error: " + error.message;
    case Failure::kTemplate:
      return "Failed applying chat template to inputs: " + error.message;
    case Failure::kNotFound:
    case Failure::kBadAdapter:
    case Failure::kUnavailable:
    case Failure::kGeneration:
      return "Request failed during generation: " + error.message;
    case Failure::kOverloaded:
      return "Model is overloaded";
    case Failure::kTimeout:
      return "Request timed out: " + error.message;
    case Failure::kIncomplete:
      return "Incomplete generation";
    case Failure::kUnhealthy:
      return "unhealthy";
    case Failure::kInternal:
      break;
  }
  return error.message;
}

struct OpenAiForm {
  int status;
  std::string_view type;
  std::string_view code;  // empty: null
};

OpenAiForm openai_form(Failure failure) {
  switch (failure) {
    case Failure::kMalformed:
    case Failure::kValidation:
      return {400, "invalid_request_error", ""};
    case Failure::kTemplate:
      return {400, "invalid_request_error", "template_error"};
    case Failure::kNotFound:
      return {404, "invalid_request_error", "model_not_found"};
    case Failure::kBadAdapter:
      return {400, "invalid_request_error", "model_not_usable"};
    case Failure::kUnavailable:
      return {424, "server_error", "model_not_available"};
    case Failure::kGeneration:
      return {500, "server_error", "generation_failed"};
    case Failure::kOverloaded:
      return {429, "rate_limit_error", "overloaded"};
    case Failure::kTimeout:
      return {504, "server_error", "timeout"};
    case Failure::kIncomplete:
      return {500, "server_error", "incomplete_generation"};
    case Failure::kUnhealthy:
      return {503, "server_error", "unhealthy"};
    case Failure::kInternal:
      break;
  }
  return {500, "server_error", ""};
}

std::string openai_object(std::string_view message, std::string_view type, std::string_view param,
                          std::string_view code) {
  OrderedJson error{{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}};
  if (!param.empty()) error["param"] = param;
  if (!code.empty()) error["code"] = code;
  return to_text({{"error", std::move(error)}});
}

net::Response with_retry_after(net::Response response, const ApiError& error) {
  if (error.retry_after.count() > 0) response.headers.set("Retry-After", std::to_string(error.retry_after.count()));
  return response;
}

}  // namespace

ApiError from_submit(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:
      return bad_field(error.message);
    case ErrorKind::kOverloaded:
      return {Failure::kOverloaded, error.message, {}, {}};
    default:
      return from_generation(error);
  }
}

ApiError from_generation(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kNotFound:
      return {Failure::kNotFound, error.message, "model", {}};
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:  // the request itself has been checked by now
      return {Failure::kBadAdapter, error.message, "model", {}};
    case ErrorKind::kOverloaded:
      return {Failure::kOverloaded, error.message, {}, {}};
    case ErrorKind::kCancelled:
      return {Failure::kIncomplete, error.message, {}, {}};
    default:
      return {Failure::kGeneration, error.message, {}, {}};
  }
}

std::string_view lorax_error_type(Failure failure) {
  switch (failure) {
    case Failure::kMalformed:
    case Failure::kValidation:
      return "validation";
    case Failure::kTemplate:
      return "template_error";
    case Failure::kNotFound:
    case Failure::kBadAdapter:
    case Failure::kUnavailable:
    case Failure::kGeneration:
      return "generation";
    case Failure::kOverloaded:
      return "overloaded";
    case Failure::kTimeout:
      return "timeout";
    case Failure::kIncomplete:
      return "incomplete_generation";
    case Failure::kUnhealthy:
      return "healthcheck";
    case Failure::kInternal:
      break;
  }
  return "internal";
}

int lorax_status(const ApiError& error) {
  switch (error.failure) {
    case Failure::kMalformed:
      return 400;
    case Failure::kValidation:
    case Failure::kTemplate:
      return 422;
    case Failure::kNotFound:
    case Failure::kBadAdapter:
    case Failure::kUnavailable:
    case Failure::kGeneration:
      return 424;
    case Failure::kOverloaded:
      return 429;
    case Failure::kTimeout:
      return 504;
    case Failure::kUnhealthy:
      return 503;
    case Failure::kIncomplete:
    case Failure::kInternal:
      break;
  }
  return 500;
}

std::string lorax_body(const ApiError& error) {
  return to_text({{"error", lorax_message(error)}, {"error_type", lorax_error_type(error.failure)}});
}

net::Response lorax_response(const ApiError& error) {
  return with_retry_after(net::Response::json(lorax_status(error), lorax_body(error)), error);
}

int openai_status(const ApiError& error) { return openai_form(error.failure).status; }

std::string openai_body(const ApiError& error) {
  const OpenAiForm form = openai_form(error.failure);
  return openai_object(error.message, form.type, error.param, form.code);
}

net::Response openai_response(const ApiError& error) {
  return with_retry_after(net::Response::json(openai_status(error), openai_body(error)), error);
}

net::Response http_error_response(std::string_view path, int status, std::string_view message) {
  const bool ours = status >= 500;
  const std::string_view code = status == 401 ? "invalid_api_key" : "";
  if (path == "/v1" || path.substr(0, 4) == "/v1/") {
    return net::Response::json(status,
                               openai_object(message, ours ? "server_error" : "invalid_request_error", "", code));
  }
  if (status == 401)
    return net::Response::json(status, to_text({{"error", message}, {"error_type", "authentication"}}));
  const std::string_view type = status == 404 ? "not_found" : ours ? "internal" : "validation";
  return net::Response::json(status, to_text({{"error", message}, {"error_type", type}}));
}

}  // namespace graft::serving::api
