// POST /embed, /classify and /classify_batch.

#include <algorithm>
#include <cmath>
#include <utility>

#include "fmt/format.h"
#include "serving/api/characters.h"
#include "serving/api/pooled_call.h"
#include "serving/api/prompt.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

// LoRAX has types of its own for these routes.
net::Response refusal(const ApiError& error, std::string_view what, std::string_view type) {
  if (error.failure != Failure::kGeneration && error.failure != Failure::kInternal) return lorax_response(error);
  return net::Response::json(500,
                             to_text({{"error", fmt::format("{}: {}", what, error.message)}, {"error_type", type}}));
}

// The adapter, in `parameters` as /generate has it.
std::optional<ApiError> read_adapter(PooledCall& call, Fields& fields, AdapterRef& adapter) {
  const Json* parameters = fields.object("parameters");
  if (fields.error()) return fields.error();
  if (parameters == nullptr) return std::nullopt;
  Fields inner(*parameters, "parameters.");
  const std::string id = inner.text("adapter_id").value_or("");
  const std::string source = inner.text("adapter_source").value_or("");
  const std::string token = inner.text("api_token").value_or(call.caller.hub_token);
  if (inner.error()) return inner.error();
  auto resolved = call.context->adapters.resolve(id, source, "parameters.adapter_id", token);
  if (!resolved.ok()) return resolved.error();
  adapter = std::move(resolved).value();
  if (!adapter.id.empty()) call.adapter = call.context->adapters.label(id, source);
  return std::nullopt;
}

std::optional<ApiError> add_requests(PooledCall& call, const std::vector<std::string>& texts, Pooling pooling,
                                     const AdapterRef& adapter) {
  for (const std::string& text : texts) {
    auto request = pooled_request(*call.context, tokenize_raw(*call.context, text), pooling, "inputs");
    if (!request.ok()) return request.error();
    request.value().adapter = adapter;
    call.characters += count_characters(text);
    call.requests.push_back(std::move(request).value());
  }
  return std::nullopt;
}

OrderedJson numbers(const std::vector<float>& values) {
  OrderedJson array = OrderedJson::array();
  for (const float value : values) array.push_back(value);
  return array;
}

void embed(const ContextPtr& context, const net::Request& request, const net::ResponseWriter& writer) {
  auto call = std::make_shared<PooledCall>(context, writer);
  call->refusal = [](const ApiError& error) { return refusal(error, "Embedding Failure", "embedding_failure"); };
  call->answer = [](const std::vector<GenerationResult>& results) {
    return OrderedJson{{"embeddings", numbers(results.front().pooled)}};
  };
  handle_pooled(call, request, [](PooledCall& c, const Json& body) -> std::optional<ApiError> {
    Fields fields(body);
    const auto inputs = fields.text("inputs");
    if (!inputs) fields.fail("inputs", "is missing");
    const Pooling pooling = read_pooling(*c.context, fields);
    AdapterRef adapter;
    if (auto error = read_adapter(c, fields, adapter)) return error;
    return add_requests(c, {*inputs}, pooling, adapter);
  });
}

// What a head says of one text, in LoRAX's form.
class Classes {
 public:
  Classes(const ApiContext& context, std::string text, const GenerationResult& result)
      : context_(&context), text_(std::move(text)), result_(&result) {}

  [[nodiscard]] OrderedJson json() const {
    if (result_->head == nullptr) return OrderedJson::array();
    return result_->head->kind == runtime::ClassificationHead::Kind::kToken ? entities() : of_the_text();
  }

 private:
  // [labels] -> probabilities
  [[nodiscard]] std::vector<double> softmax(std::span<const float> logits) const {
    const float most = *std::max_element(logits.begin(), logits.end());
    std::vector<double> out;
    double sum = 0;
    for (const float logit : logits) sum += out.emplace_back(std::exp(static_cast<double>(logit - most)));
    for (double& value : out) value /= sum;
    return out;
  }

  // Every label of the whole text, the likeliest first.
  [[nodiscard]] OrderedJson of_the_text() const {
    const std::vector<double> scores = softmax(result_->pooled);
    std::vector<size_t> order(scores.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    OrderedJson list = OrderedJson::array();
    for (const size_t label : order) {
      list.push_back(entity(result_->head->labels[label], scores[label], {0, text_.size()}));
    }
    return list;
  }

  struct Span {
    size_t begin, end;  // bytes
  };

  // Neighbouring tokens of one class are one entity: transformers' aggregation "simple". Class O is none.
  [[nodiscard]] OrderedJson entities() const {
    const auto encoding = context_->tokenizer->encode(text_, {.add_special_tokens = true});
    const size_t labels = result_->head->labels.size();
    OrderedJson list = OrderedJson::array();
    std::string open;
    std::vector<double> scores;
    Span span{};
    const auto close = [&] {
      if (open.empty()) return;
      double sum = 0;
      for (const double score : scores) sum += score;
      list.push_back(entity(open, sum / static_cast<double>(scores.size()), span));
      open.clear();
    };
    for (size_t i = 0; i < encoding.ids.size() && (i + 1) * labels <= result_->pooled.size(); ++i) {
      const auto [begin, end] = encoding.offsets[i];
      if (begin == end) continue;  // a special token of the tokenizer's own
      const auto probabilities = softmax(std::span(result_->pooled).subspan(i * labels, labels));
      const auto best = std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
      std::string label = result_->head->labels[static_cast<size_t>(best)];
      const bool begins = label.starts_with("B-");
      if (begins || label.starts_with("I-")) label.erase(0, 2);
      if (label == "O") {
        close();
        continue;
      }
      if (begins || label != open) {
        close();
        open = label;
        scores.clear();
        span.begin = begin;
      }
      span.end = end;
      scores.push_back(probabilities[static_cast<size_t>(best)]);
    }
    close();
    return list;
  }

  [[nodiscard]] OrderedJson entity(const std::string& label, double score, Span span) const {
    const std::string word = text_.substr(span.begin, span.end - span.begin);
    const size_t start = count_characters(text_.substr(0, span.begin));
    return {{"entity_group", label},
            {"score", score},
            {"word", word},
            {"start", start},
            {"end", start + count_characters(word)}};
  }

  const ApiContext* context_;
  std::string text_;
  const GenerationResult* result_;
};

void classify(const ContextPtr& context, bool batch, const net::Request& request, const net::ResponseWriter& writer) {
  auto call = std::make_shared<PooledCall>(context, writer);
  auto texts = std::make_shared<std::vector<std::string>>();
  call->refusal = [](const ApiError& error) {
    return refusal(error, "Classification Failure", "classification_failure");
  };
  call->answer = [context, texts, batch](const std::vector<GenerationResult>& results) {
    OrderedJson lists = OrderedJson::array();
    for (size_t i = 0; i < results.size(); ++i) lists.push_back(Classes(*context, (*texts)[i], results[i]).json());
    return batch ? lists : lists.front();
  };
  handle_pooled(call, request, [texts, batch](PooledCall& c, const Json& body) -> std::optional<ApiError> {
    Fields fields(body);
    if (batch) {
      *texts = fields.texts("inputs").value_or(std::vector<std::string>());
    } else if (const auto inputs = fields.text("inputs")) {
      *texts = {*inputs};
    }
    if (texts->empty()) fields.fail("inputs", "is missing");
    const auto most = static_cast<size_t>(c.context->config.max_inputs);
    if (texts->size() > most)
      fields.fail("inputs", fmt::format("may hold up to {} texts. Given: {}", most, texts->size()));
    AdapterRef adapter;
    if (auto error = read_adapter(c, fields, adapter)) return error;
    return add_requests(c, *texts, Pooling::kClassify, adapter);
  });
}

}  // namespace

void add_lorax_pooled_routes(net::Router& router, const ContextPtr& context) {
  router.add("POST", "/embed", [context](const net::Request& request, const net::ResponseWriter& writer) {
    embed(context, request, writer);
  });
  for (const bool batch : {false, true}) {
    router.add("POST", batch ? "/classify_batch" : "/classify",
               [context, batch](const net::Request& request, const net::ResponseWriter& writer) {
                 classify(context, batch, request, writer);
               });
  }
}

}  // namespace graft::serving::api
