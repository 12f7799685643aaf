// A tokenizer.model against the package that defines the format, and against hostile files.

#include "formats/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "formats/gguf_model.h"
#include "text/oracle.h"
#include "text/tokenizer.h"

namespace graft::text {
namespace {

using formats::parse_sentencepiece;
using formats::tokenizer_json_from_sentencepiece_file;
using testing::from_hex;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::read_lines;
using testing::read_text;
using testing::run_oracle;

class SentencePieceFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TestDirectory>();
    run_oracle("tests.oracles.sentencepiece_cases", "all", folder_->path());
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string file(const std::string& name) { return read_text(folder_->path() / name); }
  static std::unique_ptr<TestDirectory> folder_;
};
std::unique_ptr<TestDirectory> SentencePieceFiles::folder_;

std::unique_ptr<Tokenizer> load(const std::string& bytes, const std::string& config = "") {
  const auto json = tokenizer_json_from_sentencepiece_file(bytes, config);
  EXPECT_TRUE(json.ok()) << json.error().message;
  if (!json.ok()) return nullptr;
  auto made = Tokenizer::from_json(*json);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(made).value() : nullptr;
}

double total_score(const formats::SentencePieceModel& model, const std::vector<int32_t>& ids) {
  double total = 0;
  for (const int32_t id : ids) total += static_cast<double>(model.pieces[static_cast<size_t>(id)].score);
  return total;
}

// The package adds Unigram's scores up in single precision, so that of paths that are equally good it may take another.
void expect_same_ids(const formats::SentencePieceModel& model, const std::vector<int32_t>& ids,
                     const std::vector<int32_t>& expected) {
  if (model.kind == formats::SentencePieceModel::Kind::kBpe || ids.size() != expected.size()) {
    ASSERT_EQ(ids, expected);
  } else if (ids != expected) {
    ASSERT_NEAR(total_score(model, ids), total_score(model, expected), 1e-3);
  }
}

TEST_F(SentencePieceFiles, GiveTheIdsOfThePackageSentencepiece) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
    if (entry.path().extension() != ".model") continue;
    SCOPED_TRACE(entry.path().filename());
    const auto model = parse_sentencepiece(read_text(entry.path()));
    const auto tokenizer = load(read_text(entry.path()));
    ASSERT_TRUE(model.ok() && tokenizer != nullptr);
    for (const auto& line : read_lines(std::filesystem::path(entry.path()).replace_extension(".jsonl"))) {
      SCOPED_TRACE(line["hex"]);
      const std::string text = from_hex(line["hex"]);
      const auto ids = tokenizer->encode(text, {.add_special_tokens = false}).ids;
      ASSERT_NO_FATAL_FAILURE(expect_same_ids(*model, ids, line["ids"].get<std::vector<int32_t>>()));
      std::vector<int32_t> known;
      std::copy_if(ids.begin(), ids.end(), std::back_inserter(known), [](int32_t id) { return id != 0; });
      ASSERT_EQ(tokenizer->decode(known), line["text"].get<std::string>());
      ++count;
    }
  }
  EXPECT_GE(count, 3000U);
}

TEST_F(SentencePieceFiles, AddBosAndEosAsTheConfigSays) {
  const std::string bytes = file("bpe_llama.model");
  const auto ids = [&](const char* config) { return load(bytes, config)->encode("the").ids; };
  const auto plain = load(bytes)->encode("the", {.add_special_tokens = false}).ids;
  const auto with = [&](std::vector<int32_t> before, const std::vector<int32_t>& behind) {
    before.insert(before.end(), plain.begin(), plain.end());
    before.insert(before.end(), behind.begin(), behind.end());
    return before;
  };
  EXPECT_EQ(ids(""), with({1}, {}));
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer"})"), with({1}, {}));
  EXPECT_EQ(ids(R"({"tokenizer_class": "XGLMTokenizer"})"), plain);
  EXPECT_EQ(ids(R"({"add_bos_token": false, "add_eos_token": true})"), with({}, {2}));
}

TEST_F(SentencePieceFiles, PutSpacesInFrontAsTransformersDoesUnderEachConfig) {
  const std::string bytes = file("bpe_llama.model");
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  size_t count = 0;
  for (const auto& line : read_lines(folder_->path() / "llama.configs")) {
    const std::string config = line["config"];
    SCOPED_TRACE(config + " " + line["hex"].get<std::string>());
    auto& tokenizer = tokenizers[config];
    if (tokenizer == nullptr) tokenizer = load(bytes, config);
    ASSERT_NE(tokenizer, nullptr);
    const auto ids = line["ids"].get<std::vector<int32_t>>();
    ASSERT_EQ(tokenizer->encode(from_hex(line["hex"])).ids, ids);
    ASSERT_EQ(tokenizer->decode(ids, false), line["text"].get<std::string>());
    ++count;
  }
  EXPECT_EQ(tokenizers.size(), 13U);
  EXPECT_GE(count, 1000U);
}

TEST_F(SentencePieceFiles, AreTheSameTokenizerInAGgufFile) {
  const auto gguf = formats::GgufFile::open(folder_->path() / "bpe_llama.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  const auto ours = formats::tokenizer_json_from_gguf(gguf->metadata());
  ASSERT_TRUE(ours.ok()) << ours.error().message;
  EXPECT_EQ(*ours, tokenizer_json_from_sentencepiece_file(file("bpe_llama.model"), "").value());
}

// The tokenizer.json that Llama 2 came with was made by other code from the same scores.
TEST(SentencePieceScores, GiveTheTokenizerOfLlama2) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.tokenizer_cases", "llama2", folder.path()));
  const auto theirs = nlohmann::json::parse(read_text(folder / "llama2.json"));
  formats::SentencePieceModel model;
  model.kind = formats::SentencePieceModel::Kind::kBpe;
  model.byte_fallback = true;
  model.remove_extra_whitespaces = false;
  using Type = formats::SentencePieceModel::PieceType;
  model.pieces.resize(theirs["model"]["vocab"].size());
  for (const auto& [text, id] : theirs["model"]["vocab"].items()) {
    const int i = id.get<int>();
    // The score of the n-th merge is -n; 259 pieces come before: <unk>, <s>, </s> and the bytes. Runs of spaces were
    // put in by hand, with the lowest score of all.
    const Type type = i == 0 ? Type::kUnknown : i < 3 ? Type::kControl : i < 259 ? Type::kByte : Type::kNormal;
    const bool is_spaces = text.starts_with("\u2581\u2581") && text.find_first_not_of("\u2581") == std::string::npos;
    const float score = i < 259 ? 0.0F : is_spaces ? -1e9F : static_cast<float>(259 - i);
    model.pieces[static_cast<size_t>(i)] = {text, score, type};
  }
  const auto json = tokenizer_json_from_sentencepiece(model, {});
  ASSERT_TRUE(json.ok()) << json.error().message;
  const auto ours = nlohmann::json::parse(*json);
  for (const char* stage : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"}) {
    EXPECT_EQ(ours[stage], theirs[stage]) << stage;
  }
  const auto tokenizer = Tokenizer::from_json(*json);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  for (const auto& line : read_lines(folder / "llama2.jsonl")) {
    SCOPED_TRACE(line["hex"]);
    ASSERT_EQ((*tokenizer)->encode(from_hex(line["hex"])).ids, line["with_special"].get<std::vector<int32_t>>());
  }
}

TEST_F(SentencePieceFiles, CutOffAnywhereAreRefusedOrShorter) {
  const std::string bytes = file("bpe_llama.model");
  size_t refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto model = parse_sentencepiece(std::string_view(bytes).substr(0, size));
    if (model.ok()) continue;  // cut between two fields
    ++refused;
    ASSERT_THAT(model.error().message, Not(HasSubstr("\n")));
  }
  EXPECT_GT(refused, bytes.size() / 2);
}

TEST_F(SentencePieceFiles, SurviveMutations) {
  std::mt19937 random(5);
  const std::string original = file("unigram_bytes.model");
  for (int round = 0; round < 300; ++round) {
    std::string bytes = original;
    for (unsigned edit = 0; edit <= random() % 4; ++edit) {
      bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    }
    const auto json = tokenizer_json_from_sentencepiece_file(bytes, "");
    if (!json.ok()) {
      ASSERT_THAT(json.error().message, Not(HasSubstr("\n")));
      continue;
    }
    const auto made = Tokenizer::from_json(*json);
    if (!made.ok()) continue;
    ASSERT_TRUE(is_valid_utf8((*made)->decode((*made)->encode("abc \xFF the 12").ids, false)));
  }
}

TEST(SentencePieceParser, NamesWhatIsWrong) {
  const auto error_of = [](std::string_view bytes) { return parse_sentencepiece(bytes).error().message; };
  EXPECT_THAT(error_of(""), HasSubstr("not a SentencePiece model"));
  EXPECT_THAT(error_of("\x0A\x7F"), HasSubstr("byte 2: a field is longer than what is left"));
  EXPECT_THAT(error_of("\x0B"), HasSubstr("byte 1: unknown wire type 3"));
  EXPECT_THAT(error_of(std::string_view("\x00\x00", 2)), HasSubstr("a field has number 0"));
  EXPECT_THAT(error_of("\x0A\x03\x0A\x01\xFF"), HasSubstr("piece 0: not valid UTF-8"));
  EXPECT_THAT(error_of("\x0A\x02\x18\x09"), HasSubstr("piece 0: unknown type"));
  EXPECT_THAT(error_of("\x12\x02\x18\x03"),
              HasSubstr("model_type 3 is not supported; supported: 1 (Unigram), 2 (BPE)"));
}

}  // namespace
}  // namespace graft::text
