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
  std::string documents;
  std::string name;
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
  if (model.chat_templates.empty()) return not_found(options.model + ": the model has no chat template");
  auto compiled = text::ChatTemplate::compile(model.chat_templates);
  if (!compiled.ok()) return at("the chat template of " + options.model, compiled.error());
  ordered_json messages;
  text::ChatTemplateOptions variables;
  variables.add_generation_prompt = !options.no_generation_prompt;
  variables.name = options.name;
  GRAFT_CHECK_OK(read_chat(options, messages, variables.tools));
  if (!options.documents.empty()) {
    GRAFT_TRY(variables.documents, read_json_file(options.documents));
  }
  for (const auto& [name, token] : model.special_tokens) variables.extra[name] = token;
  GRAFT_TRY(const text::RenderedChat chat, (*compiled)->render(messages, variables));
  if (!options.json) {
    out << chat.text;
    return {};
  }
  const auto ranges = [](const std::vector<text::ProtectedSpan>& spans) {
    ordered_json list = ordered_json::array();
    for (const text::ProtectedSpan& span : spans) list.push_back({span.begin, span.end});
    return list;
  };
  ordered_json shown = {{"text", chat.text}, {"content", ranges(chat.content)}};
  if (chat.marks_generation) shown["generated"] = ranges(chat.generated);
  out << shown.dump() << "\n";
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
  verb->add_option("--documents", options.documents, "JSON file: an array of documents to answer from");
  verb->add_option("--template", options.name, "which of the model's templates, where it has several");
  verb->add_flag("--no-generation-prompt", options.no_generation_prompt, "don't open the assistant's turn at the end");
  verb->add_flag(
      "--json", options.json,
      "print {text, content: [[begin, end]]}: the bytes that came from messages; and `generated`, those that the "
      "template's {% generation %} blocks printed, where it has any");
  return run_app(app, arguments, streams, [&] { return render(options, streams.out); });
}

}  // namespace graft::cli
