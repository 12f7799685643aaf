#include "load/prompt_file.h"

#include <fmt/format.h>

#include <fstream>

#include "base/files.h"
#include "base/json.h"

namespace graft::load {
namespace {

Result<Prompt> read_prompt(const nlohmann::json& row) {
  Prompt prompt;
  if (!row.is_object()) return invalid("not an object");
  if (const auto it = row.find("max_tokens"); it != row.end()) {
    if (!it->is_number_integer() || it->get<int64_t>() < 1) return invalid("max_tokens is not a positive number");
    prompt.max_tokens = it->get<int64_t>();
  }
  if (const auto it = row.find("messages"); it != row.end()) {
    if (!it->is_array() || it->empty()) return invalid("messages is not an array of messages");
    prompt.messages = *it;
    return prompt;
  }
  for (const char* key : {"prompt", "inputs", "text"}) {
    const auto it = row.find(key);
    if (it == row.end()) continue;
    if (!it->is_string()) return invalid(std::string(key) + " is not a string");
    prompt.text = it->get<std::string>();
    return prompt;
  }
  return invalid("none of prompt, inputs, text and messages is there");
}

}  // namespace

Result<std::vector<Prompt>> read_prompts(const std::filesystem::path& path) {
  GRAFT_TRY(const std::string bytes, read_file(path));
  std::vector<Prompt> prompts;
  int64_t line = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view text = std::string_view(bytes).substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", path.string(), line);
    const auto row = parse_json(text, {.first_line = line});
    if (!row.ok()) return at(path.string(), row.error());
    auto prompt = read_prompt(row.value());
    if (!prompt.ok()) return at(place, prompt.error());
    prompts.push_back(std::move(prompt).value());
  }
  if (prompts.empty()) return invalid(path.string() + ": no prompt in it");
  return prompts;
}

}  // namespace graft::load
