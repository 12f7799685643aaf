#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_server.h"
#include "serving/api/api_context.h"

namespace graft::serving::api {

// Whether `given` is one of the keys; takes the same time whatever the keys are and wherever it differs from them.
bool is_api_key(std::string_view given, const std::vector<std::string>& keys);

// What comes before every route: API keys (all but /health, /ping and /startup want one, where there are any), and the
// refusal of new work while the server drains.
std::optional<net::Response> check_at_the_door(const ApiContext& context, const net::Request& request);

// One line for each answer, with its request id and trace id: 5xx as warnings, other failures as information, the rest
// for debugging.
bool is_logged(const net::Exchanged& exchanged);
void log_exchange(const net::Exchanged& exchanged);

}  // namespace graft::serving::api
