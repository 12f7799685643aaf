#include "formats/chat_template_files.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"

namespace graft::formats {
namespace {

using nlohmann::json;

using ChatTemplates = std::map<std::string, std::string>;

// "chat_template" is text, or a list of {name, template}.
Result<ChatTemplates> templates_of(const json& config, const std::string& place) {
  ChatTemplates templates;
  const auto entry = config.find("chat_template");
  if (entry == config.end() || entry->is_null()) return templates;
  if (entry->is_string()) return ChatTemplates{{"default", entry->get<std::string>()}};
  const Error wrong = invalid(place + ": key 'chat_template' is neither text nor a list of {name, template}");
  if (!entry->is_array()) return wrong;
  for (const json& named : *entry) {
    if (!named.is_object() || !named.value("name", json()).is_string() ||
        !named.value("template", json()).is_string()) {
      return wrong;
    }
    templates[named["name"].get<std::string>()] = named["template"].get<std::string>();
  }
  return templates;
}

// Template files, which replace those of tokenizer_config.json altogether, as in transformers.
Result<ChatTemplates> template_files(const fs::path& directory) {
  ChatTemplates templates;
  if (fs::exists(directory / "chat_template.jinja")) {
    GRAFT_TRY(templates["default"], read_file(directory / "chat_template.jinja"));
  }
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(directory / kChatTemplateFolder, none)) {
    if (entry.path().extension() != ".jinja") continue;
    GRAFT_TRY(templates[entry.path().stem().string()], read_file(entry.path()));
  }
  return templates;
}

}  // namespace

Result<std::map<std::string, std::string>> read_chat_templates(const std::filesystem::path& directory) {
  GRAFT_TRY(ChatTemplates files, template_files(directory));
  const fs::path path = directory / "tokenizer_config.json";
  if (!files.empty() || !fs::exists(path)) return files;
  GRAFT_TRY(const std::string text, read_file(path));
  const auto config = parse_json(text);
  if (!config.ok()) return at(path.string(), config.error());
  if (!config->is_object()) return invalid(path.string() + ": must hold an object");
  return templates_of(*config, path.string());
}

}  // namespace graft::formats
