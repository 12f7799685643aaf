#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/files.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_text.h"
#include "text/chat_template.h"

namespace graft::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string model;
  std::string messages;
  std::string tools;
  bool no_generation_prompt = false;
  bool json = false;
};

Result<ordered_json> read_json_file(const std::string& path) {
  GRAFT_TRY(const std::string text, read_file(path));
  auto value = parse_ordered_json(text);
  if (!value.ok()) return at(path, value.error());
  return value;
}

// An array of messages, or an object as a training row has it: {messages, tools}.
Status read_chat(const Options& options, ordered_json& messages, ordered_json& tools) {
  GRAFT_TRY(messages, read_json_file(options.messages));
  if (messages.is_object() && messages.contains("messages")) {
    if (messages.contains("tools")) tools = messages["tools"];
    messages = ordered_json(messages["messages"]);
  }
  if (!messages.is_array())
    return invalid(options.messages + ": must hold an array of messages, or an object with the key 'messages'");
  if (options.tools.empty()) return {};
  GRAFT_TRY(tools, read_json_file(options.tools));
  if (!tools.is_array()) return invalid(options.tools + ": must hold an array of tools");
  return {};
}

Status render(const Options& options, std::ostream& out) {
  GRAFT_TRY(const ModelText model, load_model_text(options.model));
  if (model.chat_template.empty()) return not_found(options.model + ": the model has no chat template");
  auto compiled = text::ChatTemplate::compile(model.chat_template);
  if (!compiled.ok()) return at("the chat template of " + options.model, compiled.error());
  ordered_json messages;
  text::ChatTemplateOptions variables;
  variables.add_generation_prompt = !options.no_generation_prompt;
  GRAFT_CHECK_OK(read_chat(options, messages, variables.tools));
  for (const auto& [name, token] : model.special_tokens) variables.extra[name] = token;
  GRAFT_TRY(const text::RenderedChat chat, (*compiled)->render(messages, variables));
  if (!options.json) {
    out << chat.text;
    return {};
  }
  ordered_json content = ordered_json::array();
  for (const text::ProtectedSpan& span : chat.content) content.push_back({span.begin, span.end});
  out << ordered_json{{"text", chat.text}, {"content", content}}.dump() << "\n";
  return {};
}

}  // namespace

int run_template(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Works with chat templates.", "graft template");
  app.require_subcommand(1);
  Options options;
  CLI::App* verb = app.add_subcommand("render", "prints a chat as the model will read it");
  verb->add_option("--model", options.model, "an imported model, a Hugging Face directory or a .gguf file")->required();
  verb->add_option("--messages", options.messages, "JSON file: an array of {role, content}")->required();
  verb->add_option("--tools", options.tools, "JSON file: an array of tool definitions");
  verb->add_flag("--no-generation-prompt", options.no_generation_prompt, "don't open the assistant's turn at the end");
  verb->add_flag("--json", options.json, "print {text, content: [[begin, end]]}: the bytes that came from messages");
  return run_app(app, arguments, streams, [&] { return render(options, streams.out); });
}

}  // namespace graft::cli
