#include "storage/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/test_directory.h"
#include "formats/hf_config.h"
#include "formats/model_layout.h"
#include "formats/safetensors_writer.h"

namespace graft::storage {
namespace {

using formats::DType;
using formats::ModelSource;
using testing::ElementsAre;
using testing::HasSubstr;

// A Hugging Face directory with constant weights.
void write_model(const fs::path& directory, float weight, const std::string& chat_template = "{{ messages }}") {
  fs::create_directories(directory);
  std::ofstream(directory / "config.json")
      << R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 4, "intermediate_size": 6,
             "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
             "eos_token_id": 2, "tie_word_embeddings": true})";
  std::ofstream(directory / "tokenizer.json") << "{}";
  std::ofstream(directory / "tokenizer_config.json")
      << R"({"eos_token": "</s>", "clean_up_tokenization_spaces": true})";
  if (!chat_template.empty()) std::ofstream(directory / "chat_template.jinja") << chat_template;
  const formats::ModelSpec spec = formats::read_hf_config(directory).value();
  const std::vector<float> values(64, weight);
  std::vector<formats::TensorView> tensors;
  for (const auto& shape : formats::weight_shapes(spec)) {
    size_t elements = 1;
    for (const int64_t size : shape.shape) elements *= static_cast<size_t>(size);
    tensors.push_back({shape.name, DType::kF32, shape.shape, std::as_bytes(std::span(values)).first(elements * 4)});
  }
  ASSERT_TRUE(formats::write_safetensors(directory / "model.safetensors", tensors).ok());
}

class Store : public testing::Test {
 protected:
  void SetUp() override {
    write_model(dir_ / "tiny", 0.5F);
    write_model(dir_ / "other", 0.25F, "");
  }
  [[nodiscard]] ModelStore store() const { return ModelStore::open(dir_ / "home").value(); }
  TestDirectory dir_;
};

Status write_norm(const ModelSource& source, const fs::path& file) {
  GRAFT_TRY(const auto values, source.read("model.norm.weight"));
  return write_file_atomic(file, std::to_string(values[0]));
}

TEST_F(Store, WhatIsAddedIsFoundByNameAndByPath) {
  EXPECT_TRUE(store().list().value().empty());
  const auto added = store().add(dir_ / "tiny/");
  ASSERT_TRUE(added.ok()) << added.error().message;
  EXPECT_FALSE(added->already_there);
  for (const std::string& key : {std::string("tiny"), (dir_ / "tiny").string(), (dir_ / "other/../tiny/").string()}) {
    const auto model = store().find(key);
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_EQ(model->name, "tiny");
    EXPECT_EQ(model->spec.hidden_size, 4);
    EXPECT_EQ(model->special_tokens.at("eos_token"), "</s>");
    EXPECT_TRUE(model->clean_up_spaces);
    EXPECT_EQ(model->tokenizer_json().value(), "{}");
    EXPECT_EQ(model->chat_template().value(), "{{ messages }}");
    EXPECT_EQ(model->digest, ModelSource::open(dir_ / "tiny").value()->digest().value());
    EXPECT_EQ(model->created.size(), 20U);
  }
  EXPECT_EQ(store().add(dir_ / "other")->model.chat_template().value(), "");
  EXPECT_EQ(store().list()->size(), 2U);
}

TEST_F(Store, TheSameModelAgainIsNoChangeAndAnotherUnderItsNameAConflict) {
  ASSERT_TRUE(store().add(dir_ / "tiny", "m").ok());
  EXPECT_TRUE(store().add(dir_ / "tiny", "m")->already_there);
  EXPECT_TRUE(store().add(dir_ / "tiny")->already_there);
  fs::copy(dir_ / "tiny", dir_ / "copy");
  EXPECT_TRUE(store().add(dir_ / "copy", "m")->already_there);
  EXPECT_THAT(store().add(dir_ / "other", "m").error().message, HasSubstr("choose another name with --name"));
  EXPECT_EQ(store().add(dir_ / "other", "m").error().kind, ErrorKind::kConflict);
  EXPECT_FALSE(store().add(dir_ / "tiny", "second")->already_there);
  EXPECT_EQ(store().list()->size(), 2U);
}

TEST_F(Store, AChangedSourceIsNoticed) {
  const StoredModel model = store().add(dir_ / "tiny")->model;
  write_model(dir_ / "tiny", 0.75F);
  EXPECT_THAT(store().find((dir_ / "tiny").string()).error().message, HasSubstr("changed since; run: graft import"));
  EXPECT_THAT(store().prepared(model, "f32", write_norm).error().message,
              HasSubstr("has changed since it was imported as 'tiny'"));
  EXPECT_EQ(store().add(dir_ / "tiny").error().kind, ErrorKind::kConflict);
  write_model(dir_ / "tiny", 0.5F);  // the same bytes in new files are the same model
  EXPECT_TRUE(store().prepared(model, "f32", write_norm).ok());
  fs::remove_all(dir_ / "tiny");
  EXPECT_TRUE(store().prepared(model, "f32", write_norm).ok());
  EXPECT_THAT(store().prepared(model, "bf16", write_norm).error().message, HasSubstr("cannot be read any more"));
}

TEST_F(Store, WeightsArePreparedOnceHoweverManyAsk) {
  const StoredModel model = store().add(dir_ / "tiny")->model;
  std::atomic<int> calls = 0;
  const auto prepare = [&](const ModelSource& source, const fs::path& file) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return write_norm(source, file);
  };
  std::vector<std::thread> threads;
  std::vector<std::string> texts(4);
  for (std::string& text : texts) {
    threads.emplace_back([&] { text = read_file(store().prepared(model, "bfloat16-v1", prepare).value()).value(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(texts, testing::Each("0.500000"));
  EXPECT_THAT(model.prepared_variants(), ElementsAre("bfloat16-v1"));
}

TEST_F(Store, AFailedPreparationLeavesNothingAndIsTriedAgain) {
  const StoredModel model = store().add(dir_ / "tiny")->model;
  const auto fail = [](const ModelSource&, const fs::path& file) -> Status {
    std::ofstream(file) << "half";
    return io_error("disk full");
  };
  EXPECT_THAT(store().prepared(model, "f32", fail).error().message, HasSubstr("disk full"));
  EXPECT_TRUE(model.prepared_variants().empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(model.directory / "prepared"), fs::directory_iterator()),
            1);  // the lock
  EXPECT_TRUE(store().prepared(model, "f32", write_norm).ok());
}

TEST_F(Store, UnknownNamesGetASuggestion) {
  EXPECT_THAT(store().find("tiny").error().message, HasSubstr("graft import SOURCE"));
  ASSERT_TRUE(store().add(dir_ / "tiny").ok());
  EXPECT_THAT(store().find("tinny").error().message, HasSubstr("did you mean 'tiny'"));
  EXPECT_THAT(store().find((dir_ / "other").string()).error().message, HasSubstr("not imported yet"));
  EXPECT_THAT(store().find("../../etc").error().message, HasSubstr("no model"));
}

TEST_F(Store, NamesStayInsideTheStore) {
  for (const char* name : {"", "..", "../x", "a/b", ".hidden", "-rf", "a b", "a\nb"}) {
    EXPECT_THAT(store().add(dir_ / "tiny", name).error().message, HasSubstr("cannot name a model")) << name;
    EXPECT_FALSE(store().remove(name).ok());
  }
  EXPECT_THAT(store().add("/").error().message, testing::Not(HasSubstr("cannot name")));
}

TEST_F(Store, RemovingForgetsTheModelAndNotItsSource) {
  ASSERT_TRUE(store().add(dir_ / "tiny").ok());
  ASSERT_TRUE(store().remove("tiny").ok());
  EXPECT_FALSE(store().find("tiny").ok());
  EXPECT_TRUE(fs::exists(dir_ / "tiny/config.json"));
  EXPECT_EQ(store().remove("tiny").error().kind, ErrorKind::kNotFound);
  EXPECT_FALSE(store().add(dir_ / "tiny")->already_there);
}

TEST_F(Store, ADamagedEntryDoesNotHideTheOthers) {
  ASSERT_TRUE(store().add(dir_ / "tiny").ok());
  ASSERT_TRUE(store().add(dir_ / "other").ok());
  const fs::path record = dir_ / "home/models/tiny/model.json";
  const std::string good = read_file(record).value();
  for (size_t length = 0; length + 2 < good.size(); length += 7) {
    std::ofstream(record) << good.substr(0, length);
    EXPECT_THAT(store().find("tiny").error().message, HasSubstr("model.json"));
  }
  const auto models = store().list();
  ASSERT_EQ(models->size(), 1U);
  EXPECT_EQ(models->front().name, "other");
  std::string other_format = good;
  other_format.replace(other_format.find("\"format\": 1"), 11, "\"format\": 9");
  std::ofstream(record) << other_format;
  EXPECT_THAT(store().find("tiny").error().message, HasSubstr("another version of graft"));
}

TEST_F(Store, ALinkedFileKeepsTheNameOfTheLink) {
  std::ofstream(dir_ / "blob") << "GGUF";
  fs::create_symlink("blob", dir_ / "model.gguf");
  const ModelStore store = ModelStore::open(dir_ / "home").value();
  EXPECT_THAT(store.add(dir_ / "model.gguf").error().message, HasSubstr("model.gguf"));
  EXPECT_THAT(store.add(dir_ / "model.gguf").error().message, testing::Not(HasSubstr("neither a .gguf file")));
}

}  // namespace
}  // namespace graft::storage
