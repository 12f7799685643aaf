#include "storage/hub_files.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string_view>

#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"

namespace graft::storage {
namespace {

constexpr std::array<std::string_view, 11> kTextFiles = {"config.json",         "generation_config.json",
                                                         "tokenizer.json",      "tokenizer_config.json",
                                                         "added_tokens.json",   "vocab.json",
                                                         "merges.txt",          "special_tokens_map.json",
                                                         "chat_template.jinja", "chat_template.json",
                                                         "tokenizer.model"};

bool has(std::span<const std::string> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// "x-00002-of-00003.gguf": {"x-", 2, "-of-00003.gguf"}.
struct Part {
  std::string before;
  int number = 0;
  std::string after;
};
std::optional<Part> split_part(const std::string& name) {
  constexpr size_t kTail = std::string_view("00001-of-00003.gguf").size();
  if (name.size() < kTail) return std::nullopt;
  const size_t at = name.size() - kTail;
  if (name.substr(at + 5, 4) != "-of-" || !all_digits(name.substr(at, 5)) || !all_digits(name.substr(at + 9, 5))) {
    return std::nullopt;
  }
  return Part{name.substr(0, at), std::stoi(name.substr(at, 5)), name.substr(at + 5)};
}

// .gguf files, of those in parts the first.
std::vector<std::string> gguf_models(std::span<const std::string> names) {
  std::vector<std::string> models;
  for (const std::string& name : names) {
    if (!name.ends_with(".gguf")) continue;
    const auto part = split_part(name);
    if (!part || part->number == 1) models.push_back(name);
  }
  std::sort(models.begin(), models.end());
  return models;
}

Result<ModelFiles> gguf_files(std::span<const std::string> names, const std::string& file, const std::string& place) {
  ModelFiles picked{{}, {}, file};
  const auto first = split_part(file);
  for (const std::string& name : names) {
    const auto part = split_part(name);
    const bool sibling = first && part && part->before == first->before && part->after == first->after;
    if (name == file || sibling) picked.files.push_back(name);
  }
  if (first && picked.files.size() != static_cast<size_t>(std::stoi(first->after.substr(4, 5)))) {
    return invalid(place + ": only " + std::to_string(picked.files.size()) + " of the parts of '" + file +
                   "' are there");
  }
  return picked;
}

// Root files with this ending that hold a whole model for transformers: not Mistral's own, not adapters.
std::vector<std::string> root_weights(std::span<const std::string> names, std::string_view ending) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (name.ends_with(ending) && name.find('/') == std::string::npos && !name.starts_with("consolidated") &&
        !name.starts_with("adapter_") && !name.starts_with("optimizer") && !name.starts_with("training_args")) {
      found.push_back(name);
    }
  }
  return found;
}

// Fills in the weights of one format; false where there are none.
bool pick_weights(std::span<const std::string> names, const std::string& stem, const std::string& ending,
                  ModelFiles& picked) {
  if (has(names, stem + ending)) {
    picked.files.push_back(stem + ending);
    return true;
  }
  if (has(names, stem + ending + ".index.json")) {
    picked.index = stem + ending + ".index.json";
    picked.files.push_back(picked.index);
    return true;
  }
  const auto weights = root_weights(names, ending);
  picked.files.insert(picked.files.end(), weights.begin(), weights.end());
  return !weights.empty();
}

Error no_such_gguf(const std::string& wanted, const std::vector<std::string>& models, const std::string& place) {
  if (models.empty()) return not_found(place + ": holds no .gguf file, so --file does not apply");
  return not_found(place + ": no .gguf file '" + printable(wanted) + "'" + suggestion(wanted, models));
}

}  // namespace

Result<ModelFiles> pick_model_files(std::span<const std::string> names, const std::string& wanted,
                                    const std::string& place) {
  const std::vector<std::string> models = gguf_models(names);
  if (!wanted.empty()) {
    if (!has(models, wanted)) return no_such_gguf(wanted, models, place);
    return gguf_files(names, wanted, place);
  }
  ModelFiles picked;
  if (has(names, "config.json") &&
      (pick_weights(names, "model", ".safetensors", picked) || pick_weights(names, "pytorch_model", ".bin", picked))) {
    for (const std::string_view name : kTextFiles) {
      if (has(names, name)) picked.files.emplace_back(name);
    }
    for (const std::string& name : names) {
      if (name.starts_with("additional_chat_templates/") && name.ends_with(".jinja")) picked.files.push_back(name);
    }
    return picked;
  }
  if (models.size() == 1) return gguf_files(names, models[0], place);
  if (models.size() > 1) {
    return invalid(place + ": holds several models; choose one with --file: " + join(models, ", "));
  }
  if (has(names, "adapter_config.json")) {
    return unsupported(place + ": an adapter, not a model; import its base model, and give the adapter when you serve");
  }
  return unsupported(place +
                     ": no model in it: neither config.json with .safetensors or .bin weights, nor a .gguf file");
}

Result<std::vector<std::string>> files_of_index(std::string_view index_json, const std::string& place) {
  auto index = parse_json(index_json);
  if (!index.ok()) return at(place, index.error());
  const auto map = index->is_object() ? index->find("weight_map") : index->end();
  if (!index->is_object() || map == index->end() || !map->is_object())
    return invalid(place + ": no 'weight_map' in it");
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_safe_path(file.get<std::string>())) {
      return invalid(place + ": tensor '" + printable(tensor) + "' is in no file of the model");
    }
    files.insert(file.get<std::string>());
  }
  return std::vector<std::string>(files.begin(), files.end());
}

}  // namespace graft::storage
