#include "engine/prompt_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <random>

#include "base/json.h"
#include "engine/engine_options.h"
#include "engine/loaded_model.h"
#include "ops/cpu/parallel.h"

namespace graft::engine {

namespace {

struct PromptOptions {
  EngineOptions engine;
  std::string text;
  std::string adapter;
  std::string system;
  bool raw = false;
  bool json = false;
  int32_t max_new_tokens = 128;
  double temperature = 0;
  double top_p = 1;
  int32_t top_k = 0;
  std::optional<uint64_t> seed;
};

void print_token(const serving::GeneratedToken& token) {
  std::fwrite(token.text.data(), 1, token.text.size(), stdout);
  std::fflush(stdout);
}

Result<std::vector<int32_t>> prompt_tokens(const LoadedModel& model, const PromptOptions& options) {
  if (options.raw || model.chat_template == nullptr) {
    if (!options.system.empty()) return invalid("--system needs a model with a chat template, and no --raw");
    return model.tokenizer->encode(options.text).ids;
  }
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", options.text}});
  text::ChatTemplateOptions template_options;
  template_options.extra = model.template_variables;
  GRAFT_TRY(const text::RenderedChat chat, model.chat_template->render(messages, template_options));
  return model.tokenizer->encode(chat.text, {.add_special_tokens = false}, chat.content).ids;
}

Status run_prompt(const PromptOptions& options) {
  ops::cpu::set_parallel_threads(options.engine.threads);
  GRAFT_TRY(const LoadedModel model, load_model(options.engine.model, options.engine.dtype));
  GRAFT_TRY(const std::unique_ptr<serving::Engine> engine, start_engine(model, options.engine));
  serving::GenerationRequest request;
  GRAFT_TRY(request.prompt, prompt_tokens(model, options));
  request.max_new_tokens = options.max_new_tokens;
  request.adapter.id = options.adapter;
  request.sampling.greedy = options.temperature == 0;
  if (!request.sampling.greedy) request.sampling.temperature = options.temperature;
  request.sampling.top_p = options.top_p;
  request.sampling.top_k = options.top_k;
  request.sampling.seed = options.seed.value_or(std::random_device{}());
  const uint64_t seed = request.sampling.seed;
  std::function<void(const serving::GeneratedToken&)> on_token;
  if (!options.json) on_token = print_token;
  GRAFT_TRY(const serving::GenerationResult result, serving::generate(*engine, std::move(request), on_token));
  if (!options.json) {
    fmt::print("\n");
    return {};
  }
  nlohmann::ordered_json out = {{"text", result.text},
                                {"prompt_tokens", result.prompt_tokens},
                                {"generated_tokens", result.tokens.size()},
                                {"seed", seed}};
  fmt::print("{}\n", out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return {};
}

}  // namespace

void add_prompt_command(CLI::App& app, int* code) {
  auto* command = app.add_subcommand("prompt", "Complete one prompt, without a server");
  auto options = std::make_shared<PromptOptions>();
  options->engine.max_batch_total_tokens = 8192;
  options->engine.add_to(*command);
  command->add_option("text", options->text, "the prompt")->required();
  command->add_option("--adapter", options->adapter, "PEFT directory to graft onto the base");
  command->add_option("--system", options->system, "system message of the chat");
  command->add_flag("--raw", options->raw, "complete the text as it is, without the model's chat template");
  command->add_flag("--json", options->json, "print one JSON object");
  command->add_option("--max-new-tokens", options->max_new_tokens, "longest answer in tokens")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "0: always the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--top-p", options->top_p, "sample from the likeliest tokens of this mass")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  command->add_option("--top-k", options->top_k, "sample from this many tokens; 0: all")->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options->seed, "of the random numbers; default: another one every time");
  command->callback([options, code] {
    const Status status = run_prompt(*options);
    if (status.ok()) return;
    fmt::print(stderr, "error: {}\n", status.error().message);
    *code = 1;
  });
}

}  // namespace graft::engine
