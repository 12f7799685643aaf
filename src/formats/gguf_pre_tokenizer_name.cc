#include "formats/gguf_pre_tokenizer_name.h"

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "formats/gguf_byte_level.h"

namespace graft::formats {
namespace {

using nlohmann::json;

// One name for each way of cutting text, among those that gguf_byte_level() reads.
constexpr std::array<std::string_view, 9> kNames = {"gpt-2",  "smollm", "llama-bpe",   "dbrx",   "qwen2",
                                                    "tekken", "gpt-4o", "deepseek-v3", "default"};

std::string text_at(const json& object, const char* key) {
  const json value = object.value(key, json());
  return value.is_string() ? value.get<std::string>() : std::string();
}

bool flag_at(const json& object, const char* key, bool fallback) {
  const json value = object.value(key, json(fallback));
  return value.is_boolean() ? value.get<bool>() : fallback;
}

std::vector<json> steps_of(const json& stage, const char* list_key) {
  if (!stage.is_object()) return {};
  if (text_at(stage, "type") != "Sequence") return {stage};
  const json list = stage.value(list_key, json::array());
  return list.is_array() ? std::vector<json>(list.begin(), list.end()) : std::vector<json>();
}

// A step by which text is cut: "digits", "gpt-2" (ByteLevel's own pattern), or the pattern of an isolating Split;
// empty for ByteLevel without its pattern, which only maps bytes. Nothing for one that GGUF's names do not cover.
std::optional<std::string> spelled(const json& step) {
  if (!step.is_object()) return std::nullopt;
  const std::string type = text_at(step, "type");
  if (type == "Digits" && flag_at(step, "individual_digits", false)) return "digits";
  if (type == "ByteLevel" && !flag_at(step, "add_prefix_space", true)) {
    return flag_at(step, "use_regex", true) ? "gpt-2" : "";
  }
  const json pattern = step.value("pattern", json());
  if (type != "Split" || text_at(step, "behavior") != "Isolated" || flag_at(step, "invert", false)) return std::nullopt;
  return pattern.is_object() && pattern.contains("Regex") ? std::optional(text_at(pattern, "Regex")) : std::nullopt;
}

Error no_name(const std::string& what) {
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  return unsupported(what + " is not one that GGUF has a name for here; known: " + join(names, ", "));
}

std::vector<std::string> steps_of_name(const GgufByteLevel& known) {
  std::vector<std::string> steps;
  for (const json& step : steps_of(json(known.stages), "pretokenizers")) {
    const std::string text = spelled(step).value_or("");
    if (!text.empty()) steps.push_back(text);
  }
  return steps;
}

}  // namespace

Result<std::string> gguf_pre_tokenizer_name(const json& tokenizer) {
  for (const json& step : steps_of(tokenizer.value("normalizer", json()), "normalizers")) {
    // llama.cpp does not normalise; text is nearly always NFC already.
    if (text_at(step, "type") != "NFC") return no_name("its normalizer '" + printable(text_at(step, "type")) + "'");
  }
  std::vector<std::string> steps;
  bool maps_bytes = false;
  for (const json& step : steps_of(tokenizer.value("pre_tokenizer", json()), "pretokenizers")) {
    const auto text = spelled(step);
    if (!text) return no_name("its pre-tokenizer's step " + printable(step.dump()));
    maps_bytes = maps_bytes || text_at(step, "type") == "ByteLevel";
    if (!text->empty()) steps.push_back(*text);
  }
  if (!maps_bytes) return no_name("a pre-tokenizer without ByteLevel");
  const auto model = tokenizer.find("model");
  const bool ignore_merges = model != tokenizer.end() && flag_at(*model, "ignore_merges", false);
  for (const std::string_view name : kNames) {
    GRAFT_TRY(const GgufByteLevel known, gguf_byte_level(name));
    if (known.ignore_merges == ignore_merges && steps_of_name(known) == steps) return std::string(name);
  }
  return no_name("its pre-tokenizer with the pattern '" + printable(steps.empty() ? "" : steps.front()) + "'");
}

Result<bool> sentence_piece_space_prefix(const json& tokenizer) {
  constexpr std::string_view kSpace = "\u2581";
  bool prefix = false;
  bool replaces = false;
  for (const json& step : steps_of(tokenizer.value("normalizer", json()), "normalizers")) {
    const std::string type = text_at(step, "type");
    const json pattern = step.value("pattern", json());
    if (type == "Prepend" && text_at(step, "prepend") == kSpace) {
      prefix = true;
    } else if (type == "Replace" && text_at(step, "content") == kSpace && pattern.is_object() &&
               text_at(pattern, "String") == " ") {
      replaces = true;
    } else {
      return unsupported("its normalizer's step " + printable(step.dump()) + " cannot be written as GGUF");
    }
  }
  for (const json& step : steps_of(tokenizer.value("pre_tokenizer", json()), "pretokenizers")) {
    if (text_at(step, "type") != "Metaspace" || text_at(step, "replacement") != kSpace ||
        flag_at(step, "split", true)) {
      return unsupported("its pre-tokenizer's step " + printable(step.dump()) + " cannot be written as GGUF");
    }
    replaces = true;
    prefix = text_at(step, "prepend_scheme") != "never";
  }
  if (!replaces) return unsupported("a tokenizer with byte fallback that keeps spaces cannot be written as GGUF");
  return prefix;
}

}  // namespace graft::formats
