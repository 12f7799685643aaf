#pragma once

// For tests: a byte-level tokenizer of one token per character, and a chat template in ChatML's shape.

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "recipe/prepare.h"
#include "recipe/row_encoder.h"

namespace graft::recipe {

inline constexpr int32_t kBos = 0;
inline constexpr int32_t kEos = 1;
inline constexpr int32_t kImStart = 2;
inline constexpr int32_t kImEnd = 3;

inline nlohmann::ordered_json test_tokenizer_json(bool bos) {
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (const char* special : {"<s>", "</s>", "<|im_start|>", "<|im_end|>"}) {
    const auto id = vocab.size();
    vocab[special] = id;
    added.push_back({{"id", id},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
  vocab["\u0120"] = vocab.size();  // a space, in the byte-level alphabet
  vocab["\u010A"] = vocab.size();  // a line feed
  nlohmann::ordered_json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", nlohmann::ordered_json::array()}}}};
  if (bos) {
    json["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single",
         {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
        {"pair", {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}}},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {kBos}}, {"tokens", {"<s>"}}}}}}};
  }
  return json;
}

inline std::unique_ptr<text::Tokenizer> test_tokenizer(bool bos = true) {
  auto made = text::Tokenizer::from_json(test_tokenizer_json(bos).dump());
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(made).value() : nullptr;
}

inline Result<text::RenderedChat> render_chatml(const nlohmann::ordered_json& messages,
                                                const nlohmann::ordered_json& /*tools*/, bool add_generation_prompt) {
  text::RenderedChat chat;
  for (const auto& message : messages) {
    chat.text += "<|im_start|>" + message["role"].get<std::string>() + "\n";
    const size_t begin = chat.text.size();
    const auto content = message.find("content");
    if (content != message.end() && content->is_string()) chat.text += content->get<std::string>();
    chat.content.push_back({begin, chat.text.size()});
    chat.text += "<|im_end|>\n";
  }
  if (add_generation_prompt) chat.text += "<|im_start|>assistant\n";
  return chat;
}

// Read from disk.
inline std::vector<Example> all_of(const ExampleSet& set) {
  std::vector<Example> examples;
  for (size_t i = 0; i < set.size(); ++i) {
    auto example = set.read(i);
    EXPECT_TRUE(example.ok()) << example.error().message;
    examples.push_back(example.ok() ? *example : Example());
  }
  return examples;
}

inline std::vector<RowRecord> records_of(const PreparedData& data) {
  std::vector<RowRecord> records;
  EXPECT_TRUE(data.each_record([&](const RowRecord& record) { records.push_back(record); }).ok());
  return records;
}

}  // namespace graft::recipe
