#pragma once

#include <functional>
#include <string>
#include <vector>

#include "net/http.h"
#include "net/response_writer.h"
#include "serving/api/api_context.h"
#include "serving/api/caller.h"
#include "serving/api/fields.h"
#include "serving/api/json_text.h"
#include "serving/api/response_headers.h"

namespace graft::serving::api {

// A request for what is made of hidden states: embeddings and classes. Every text is a sequence of its own in the
// engine; the answer is whole.
struct PooledCall {
  ContextPtr context;
  net::ResponseWriter writer;
  Timeline times;
  Caller caller;
  size_t characters = 0;
  AdapterLabel adapter;
  std::vector<GenerationRequest> requests;
  std::function<net::Response(const ApiError& error)> refusal;                      // in the route's form
  std::function<OrderedJson(const std::vector<GenerationResult>& results)> answer;  // likewise

  PooledCall(ContextPtr c, net::ResponseWriter w) : context(std::move(c)), writer(std::move(w)) {}
};
using PooledCallPtr = std::shared_ptr<PooledCall>;

void refuse(const PooledCall& call, const ApiError& error);
void run(const PooledCallPtr& call);

// One sequence of `call` for these tokens. Errors: none, or more than the model takes, named `field`.
ApiResult<GenerationRequest> pooled_request(const ApiContext& context, std::vector<int32_t> prompt, Pooling pooling,
                                            const std::string& field);

// `pooling` of the body: mean or last; the server's own where it says nothing.
Pooling read_pooling(const ApiContext& context, Fields& fields);

// Reads the caller and the body, then `prepare`s; what that says is wrong is refused.
using Prepare = std::function<std::optional<ApiError>(PooledCall& call, const Json& body)>;
void handle_pooled(const PooledCallPtr& call, const net::Request& request, const Prepare& prepare);

}  // namespace graft::serving::api
