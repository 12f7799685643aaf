#include "formats/gguf_byte_level.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/strings.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;

// The patterns are those of the models' own tokenizer.json files.
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                                R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                                R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeek3Numbers = R"(\p{N}{1,3})";
constexpr const char* kDeepSeek3Chinese = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
constexpr const char* kDeepSeek3Words =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
constexpr const char* kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";

ordered_json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

ordered_json split(std::string_view pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

ordered_json sequence(std::vector<ordered_json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

ordered_json patterns(std::initializer_list<std::string_view> each) {
  std::vector<ordered_json> steps;
  for (const std::string_view pattern : each) steps.push_back(split(pattern));
  steps.push_back(byte_level(false));
  return sequence(std::move(steps));
}

GgufByteLevel gpt2() { return {.normalizer = nullptr, .stages = byte_level(true)}; }
GgufByteLevel digits() {
  return {.normalizer = nullptr,
          .stages = sequence({{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)})};
}
GgufByteLevel llama3() {
  return {.normalizer = nullptr, .stages = patterns({kLlama3}), .ignore_merges = true, .add_bos = true};
}
GgufByteLevel cl100k() { return {.normalizer = nullptr, .stages = patterns({kLlama3})}; }
GgufByteLevel qwen2() { return {.normalizer = {{"type", "NFC"}}, .stages = patterns({kQwen2})}; }
GgufByteLevel stablelm2() { return {.normalizer = nullptr, .stages = patterns({kQwen2})}; }
GgufByteLevel tekken() {
  return {.normalizer = nullptr, .stages = patterns({kTekken}), .ignore_merges = true, .add_bos = true};
}
GgufByteLevel gpt4o() { return {.normalizer = nullptr, .stages = patterns({kGpt4o})}; }
GgufByteLevel deepseek3() {
  return {.normalizer = nullptr, .stages = patterns({kDeepSeek3Numbers, kDeepSeek3Chinese, kDeepSeek3Words})};
}
// llama.cpp's meaning of "default", each pattern applied to the pieces of the one before.
GgufByteLevel unnamed() {
  return {.normalizer = nullptr, .stages = patterns({kPunctuation, kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"})};
}

struct Known {
  std::string_view name;
  GgufByteLevel (*make)();
};

constexpr std::array kKnown = {
    Known{"default", unnamed},
    Known{"gpt-2", gpt2},
    Known{"phi-2", gpt2},
    Known{"mpt", gpt2},
    Known{"olmo", gpt2},
    Known{"jais", gpt2},
    Known{"smollm", digits},
    Known{"starcoder", digits},
    Known{"refact", digits},
    Known{"command-r", digits},
    Known{"codeshell", digits},
    Known{"exaone", digits},
    Known{"llama-bpe", llama3},
    Known{"llama3", llama3},
    Known{"llama-v3", llama3},
    Known{"falcon3", llama3},
    Known{"pixtral", llama3},
    Known{"dbrx", cl100k},
    Known{"smaug-bpe", cl100k},
    Known{"qwen2", qwen2},
    Known{"deepseek-r1-qwen", qwen2},
    Known{"megrez", qwen2},
    Known{"hunyuan", stablelm2},
    Known{"stablelm2", stablelm2},
    Known{"tekken", tekken},
    Known{"gpt-4o", gpt4o},
    Known{"llama4", gpt4o},
    Known{"deepseek-v3", deepseek3},
};

}  // namespace

Result<GgufByteLevel> gguf_byte_level(std::string_view name) {
  const auto found = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& known) { return known.name == name; });
  if (found != kKnown.end()) return found->make();
  std::vector<std::string> names;
  for (const Known& known : kKnown) names.emplace_back(known.name);
  return unsupported("tokenizer.ggml.pre '" + printable(name) + "' is not supported; supported: " + join(names, ", "));
}

}  // namespace graft::formats
