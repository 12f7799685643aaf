#include "serving/api/testing/tiny_model.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace graft::serving::api::testing {
namespace {

using Json = nlohmann::json;

std::string utf8(unsigned code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0U | code_point >> 6U), static_cast<char>(0x80U | (code_point & 0x3FU))};
}

// GPT-2's printable stand-ins for the 256 bytes, in the order of its vocabulary.
std::vector<std::string> byte_alphabet() {
  const auto printable = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  std::vector<std::string> own;
  std::vector<std::string> moved;
  for (unsigned b = 0; b < 256; ++b) {
    if (printable(b)) {
      own.push_back(utf8(b));
    } else {
      moved.push_back(utf8(256 + static_cast<unsigned>(moved.size())));
    }
  }
  own.insert(own.end(), moved.begin(), moved.end());
  return own;
}

constexpr std::array<std::array<std::string_view, 2>, 12> kMerges{{{"h", "e"},
                                                                   {"l", "l"},
                                                                   {"he", "ll"},
                                                                   {"hell", "o"},
                                                                   {"Ġ", "t"},
                                                                   {"Ġt", "he"},
                                                                   {"i", "n"},
                                                                   {"Ġ", "w"},
                                                                   {"o", "r"},
                                                                   {"Ġw", "or"},
                                                                   {"l", "d"},
                                                                   {"Ġwor", "ld"}}};

Json added_token(int id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

std::string tokenizer_json() {
  Json vocab = Json::object();
  int next = 0;
  for (const auto& token : byte_alphabet()) vocab[token] = next++;
  Json merges = Json::array();
  for (const auto& [left, right] : kMerges) {
    merges.push_back(std::string(left) + " " + std::string(right));
    vocab[std::string(left) + std::string(right)] = next++;
  }
  Json added = Json::array();
  for (const std::string_view special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    added.push_back(added_token(next, special));
    vocab[std::string(special)] = next++;
  }
  const Json byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json model{{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"vocab", vocab},
                   {"merges", merges}};
  const Json file{{"version", "1.0"},          {"truncation", nullptr}, {"padding", nullptr},
                  {"added_tokens", added},     {"normalizer", nullptr}, {"pre_tokenizer", byte_level},
                  {"post_processor", nullptr}, {"decoder", byte_level}, {"model", model}};
  return file.dump();
}

constexpr std::string_view kTemplate =
    "{% for message in messages %}"
    "{% if message['role'] == 'forbidden' %}{{ raise_exception('this role is forbidden') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "tiny model: %s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(result).value();
}

}  // namespace

std::unique_ptr<text::Tokenizer> tiny_tokenizer() { return must(text::Tokenizer::from_json(tokenizer_json())); }
std::unique_ptr<text::ChatTemplate> tiny_template() { return must(text::ChatTemplate::compile(kTemplate)); }

}  // namespace graft::serving::api::testing
