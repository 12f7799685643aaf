#include "recipe/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/philox.h"
#include "base/test_directory.h"
#include "recipe/test_model.h"

namespace graft::recipe {
namespace {

using testing::HasSubstr;

class Preparing : public testing::Test {
 protected:
  Preparing() {
    config_.model_type = "llm";
    config_.base_model = "m";
    config_.preprocessing.split.probabilities = {1, 0, 0};
  }

  void columns(std::string prompt_template, std::string output) {
    config_.prompt.template_text = std::move(prompt_template);
    config_.output_features = {{std::move(output), "text"}};
  }

  Result<PreparedData> prepare_file(const std::string& name, const std::string& bytes, int64_t context = 1000) {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    GRAFT_TRY(const auto reader, formats::DatasetReader::open(dir_ / name));
    GRAFT_TRY(const RowEncoder encoder,
              RowEncoder::create({tokenizer_.get(), render_chatml, {kImEnd}}, config_.prompt.apply_chat_template));
    return prepare(config_, encoder, *reader, name, {.max_length = context});
  }

  std::vector<std::string> shown(const Result<PreparedData>& data) {
    std::vector<std::string> texts;
    if (!data.ok()) return {"error: " + data.error().message};
    for (const auto& example : all_of(data->train)) texts.push_back(preview(example, *tokenizer_));
    return texts;
  }

  std::string error_of(const std::string& name, const std::string& bytes, int64_t context = 1000) {
    const auto data = prepare_file(name, bytes, context);
    return data.ok() ? "no error" : data.error().message;
  }

  TestDirectory dir_;
  std::unique_ptr<text::Tokenizer> tokenizer_ = test_tokenizer();
  TrainingConfig config_;
};

TEST_F(Preparing, ColumnsFillTheTemplate) {
  columns("{{{a}}}: {b}", "label");
  EXPECT_THAT(shown(prepare_file("d.jsonl",
                                 "{\"a\": \"x\", \"b\": 3, \"label\": true}\n{\"label\": 2.5, \"a\": \"\", "
                                 "\"b\": \"y\"}\n")),
              testing::ElementsAre("<s>{x}: 3[[true<|im_end|>]]", "<s>{}: y[[2.5<|im_end|>]]"));
  EXPECT_THAT(shown(prepare_file("d.csv", "a,b,label\nx,3,true\n")),
              testing::ElementsAre("<s>{x}: 3[[true<|im_end|>]]"));
}

TEST_F(Preparing, OneInputFeatureIsThePromptAsItIs) {
  config_.input_features = {{"text {1}", "text"}};
  config_.output_features = {{"label", "text"}};
  EXPECT_THAT(shown(prepare_file("d.jsonl", R"({"text {1}": "a {b}", "label": "c"})")),
              testing::ElementsAre("<s>a {b}[[c<|im_end|>]]"));
}

TEST_F(Preparing, OwnShapesAreRecognised) {
  EXPECT_THAT(shown(prepare_file("d.jsonl", R"({"prompt": "p", "completion": "c"})")),
              testing::ElementsAre("<s>p[[c<|im_end|>]]"));
  const std::string chat = "<|im_start|>user\np<|im_end|>\n<|im_start|>assistant\n[[c<|im_end|>]]\n";
  EXPECT_THAT(shown(prepare_file("d.json", R"([{"messages": [{"role": "user", "content": "p"},
                                              {"role": "assistant", "content": "c"}]}])")),
              testing::ElementsAre(chat));
  EXPECT_THAT(shown(prepare_file("d.csv",
                                 "messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"p\"\"}, "
                                 "{\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"c\"\"}]\"\n")),
              testing::ElementsAre(chat));
}

TEST_F(Preparing, BadRowsAreErrorsThatNameFileRowAndRemedy) {
  columns("{text}", "label");
  const std::string good = "{\"text\": \"a\", \"label\": \"b\"}\n";
  EXPECT_EQ(error_of("d.jsonl", good + R"({"text": "a", "lable": "b"})"),
            "d.jsonl: row 2: column 'label' missing; columns are text, lable; did you mean lable?");
  EXPECT_EQ(error_of("d.jsonl", good + R"({"text": "a", "label": ""})"),
            "d.jsonl: row 2: column 'label' is empty: there is nothing to learn");
  EXPECT_EQ(error_of("d.jsonl", good + R"({"text": "", "label": "b"})"), "d.jsonl: row 2: the prompt is empty");
  EXPECT_EQ(error_of("d.jsonl", good + R"({"text": null, "label": "b"})"),
            "d.jsonl: row 2: column 'text' is null: expected text");
  EXPECT_EQ(error_of("d.jsonl", good + R"({"text": [1], "label": "b"})"),
            "d.jsonl: row 2: column 'text' is a list: expected text");
  EXPECT_THAT(error_of("d.jsonl", good + "{}"), HasSubstr("columns are none"));
  EXPECT_EQ(error_of("d.jsonl", ""), "d.jsonl: has no rows");
}

TEST_F(Preparing, BadRowsOfOwnShapesAreErrors) {
  EXPECT_THAT(error_of("d.jsonl", R"({"txt": "a"})"), HasSubstr("d.jsonl: row 1: the columns (txt) are none of"));
  EXPECT_THAT(error_of("d.jsonl", R"({"messages": []})"), HasSubstr("row 1: messages: must be a list"));
  EXPECT_THAT(error_of("d.jsonl", R"({"messages": ["x"]})"), HasSubstr("messages[0]: expected an object"));
  EXPECT_THAT(error_of("d.csv", "messages\nxyz\n"), HasSubstr("row 1: messages: "));
  EXPECT_THAT(error_of("d.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}"), HasSubstr("row 2: column 'text' is empty"));
}

TEST_F(Preparing, OddChatsAreEncodedOrRefusedByRowButNeverMore) {
  const std::vector<std::string> values = {"null", "1",       "\"x\"", "\"\"",          "[]",
                                           "{}",   "[\"x\"]", "true",  "\"assistant\"", "\"user\""};
  PhiloxStream random(5, 5);
  int encoded = 0;
  for (int round = 0; round < 400; ++round) {
    std::string messages = R"({"role": "user", "content": "u"})";
    for (uint64_t i = random.below(3); i > 0; --i) {
      std::string message;
      for (const char* key : {"role", "content", "tool_calls"}) {
        if (random.below(4) == 0) continue;
        const bool likely = random.below(2) == 0 && key != std::string("tool_calls");
        const std::string value =
            likely ? (key == std::string("role") ? "\"assistant\"" : "\"x\"") : values[random.below(values.size())];
        message += (message.empty() ? "\"" : ", \"") + std::string(key) + "\": " + value;
      }
      messages += ", {" + message + "}";
    }
    const auto data = prepare_file("d.jsonl", "{\"messages\": [" + messages + "]}");
    if (data.ok()) {
      ++encoded;
    } else {
      EXPECT_THAT(data.error().message, testing::StartsWith("d.jsonl: row 1: ")) << messages;
    }
  }
  EXPECT_GT(encoded, 5);
}

TEST_F(Preparing, WrongTemplatesAreErrors) {
  const auto refused = [&](const char* prompt, const char* part) {
    columns(prompt, "label");
    EXPECT_THAT(error_of("d.jsonl", R"({"text": "a", "label": "b"})"), HasSubstr(part)) << prompt;
  };
  refused("{", "a { is not closed");
  refused("{text", "a { is not closed");
  refused("{te{xt}", "a { is not closed");
  refused("text}", "a } without its {");
  refused("{}", "{} names no column");
  refused("{text!r}", "only plain {column}");
  refused("{text:>8}", "only plain {column}");
  refused("{text} {label}", "the column to learn");
  config_.input_features = {{"body", "text"}};
  refused("{text}", "the input feature {body} is not in it");
}

TEST_F(Preparing, OverlongRowsAreCutDroppedOrRefusedAsConfigured) {
  const std::string rows =
      "{\"prompt\": \"abcdefgh\", \"completion\": \"x\"}\n{\"prompt\": \"a\", \"completion\": \"y\"}\n";
  auto data = prepare_file("d.jsonl", rows, 6);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data->truncated, 1);
  EXPECT_EQ(data->longest, 6);
  EXPECT_THAT(shown(data), testing::ElementsAre("<s>fgh[[x<|im_end|>]]", "<s>a[[y<|im_end|>]]"));

  config_.preprocessing.overlong_rows = "drop";
  data = prepare_file("d.jsonl", rows, 6);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->dropped, 1);
  EXPECT_THAT(shown(data), testing::ElementsAre("<s>a[[y<|im_end|>]]"));
  EXPECT_THAT(error_of("d.jsonl", rows, 3), HasSubstr("none of its 2 rows is left to train on"));

  config_.preprocessing.overlong_rows = "refuse";
  config_.preprocessing.global_max_sequence_length = 7;
  EXPECT_THAT(error_of("d.jsonl", rows), HasSubstr("d.jsonl: row 1: 11 tokens, 7 are allowed"));

  config_.preprocessing.overlong_rows = "truncate";
  config_.preprocessing.global_max_sequence_length = 1;
  EXPECT_THAT(error_of("d.jsonl", rows), HasSubstr("row 1: no token carries loss after shortening"));
}

std::string many_rows(int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) {
    rows += "{\"prompt\": \"p" + std::to_string(i) + "\", \"completion\": \"c\", \"split\": " + std::to_string(i % 3) +
            "}\n";
  }
  return rows;
}

TEST_F(Preparing, RandomSplitsFollowTheProbabilitiesAndTheSeed) {
  config_.preprocessing.split = {"random", {0.7, 0.1, 0.2}, "split"};
  const auto data = prepare_file("d.jsonl", many_rows(2000));
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_NEAR(static_cast<double>(data->train.size()), 1400, 70);
  EXPECT_NEAR(static_cast<double>(data->validation.size()), 200, 50);
  EXPECT_EQ(data->train.size() + data->validation.size() + data->test.size(), 2000U);
  const auto again = prepare_file("d.jsonl", many_rows(2000));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->digest, data->digest);
  config_.random_seed = 43;
  const auto other = prepare_file("d.jsonl", many_rows(2000));
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->digest, data->digest);
}

TEST_F(Preparing, ARowsSplitDoesNotDependOnOtherRows) {
  for (int64_t row = 1; row < 200; ++row) EXPECT_EQ(random_split(1, row, {1, 0, 0}), Split::kTrain);
  for (int64_t row = 1; row < 200; ++row) EXPECT_NE(random_split(1, row, {0.5, 0.5, 0}), Split::kTest);
  for (int64_t row = 1; row < 200; ++row) EXPECT_NE(random_split(1, row, {0.5, 0, 0.5}), Split::kValidation);
}

TEST_F(Preparing, FixedSplitsFollowTheColumn) {
  config_.preprocessing.split.type = "fixed";
  const auto data = prepare_file("d.jsonl", many_rows(10));
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data->train.size(), 4U);
  EXPECT_EQ(data->validation.size(), 3U);
  EXPECT_EQ(all_of(data->validation).at(0).row, 2);
  EXPECT_EQ(data->prompts.size(), 3U);
  EXPECT_EQ(data->prompts[0].prompt, "p1");
  EXPECT_THAT(error_of("e.jsonl", R"({"prompt": "p", "completion": "c", "split": 3})"),
              HasSubstr("row 1: column 'split' is '3': expected 0"));
}

TEST_F(Preparing, ASplitColumnIsUsedWhereTheFirstRowHasOne) {
  const std::string rows = R"({"prompt": "p", "completion": "c", "split": "train"}
{"prompt": "q", "completion": "c", "split": "Evaluation"}
{"prompt": "r", "completion": "c", "split": "test"})";
  config_.preprocessing.split.probabilities = {0.7, 0.1, 0.2};
  const auto data = prepare_file("d.jsonl", rows);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data->train.size(), 1U);
  EXPECT_EQ(all_of(data->validation).at(0).row, 2);
  EXPECT_EQ(all_of(data->test).at(0).row, 3);
  EXPECT_THAT(
      error_of("d.jsonl", rows + "\n{\"prompt\": \"p\", \"completion\": \"c\", \"split\": \"other\"}"),
      HasSubstr("row 4: column 'split' is 'other': expected 0 or train, 1 or validation (evaluation), 2 or test; "
                "or set preprocessing.split.type: random"));
  config_.preprocessing.split.type = "random";
  config_.preprocessing.split.probabilities = {1, 0, 0};
  EXPECT_EQ(prepare_file("d.jsonl", rows)->train.size(), 3U);
}

TEST_F(Preparing, OtherShapesAreRecognisedByTheirColumns) {
  EXPECT_THAT(shown(prepare_file("d.jsonl", R"({"question": "q?", "answer": "a"})")),
              testing::ElementsAre("<s>Question: q?\nAnswer:[[ a<|im_end|>]]"));
  EXPECT_THAT(shown(prepare_file("d.jsonl", R"({"text": "some text"})")),
              testing::ElementsAre("<s>[[some text<|im_end|>]]"));
  config_.prompt.apply_chat_template = true;
  EXPECT_THAT(shown(prepare_file("d.jsonl", R"({"instruction": "i", "input": "x", "output": "o"})")),
              testing::ElementsAre("<|im_start|>user\ni\n\nx<|im_end|>\n<|im_start|>assistant\n[[o<|im_end|>]]\n"));
}

TEST_F(Preparing, ADocumentThatIsTooLongIsCutSoThatEveryTokenIsLearnedOnce) {
  const std::string text = "abcdefghijklmnopq";
  const auto data = prepare_file("d.jsonl", "{\"text\": \"" + text + "\"}\n{\"text\": \"z\"}", 6);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_THAT(shown(data), testing::ElementsAre("<s>[[abcde]]", "e[[fghij]]", "j[[klmno]]", "o[[pq<|im_end|>]]",
                                                "<s>[[z<|im_end|>]]"));
  EXPECT_EQ(data->cut, 1);
  EXPECT_EQ(data->truncated, 0);
  int64_t learned = 0;
  for (const Example& example : all_of(data->train)) learned += supervised_tokens(example);
  EXPECT_EQ(learned, static_cast<int64_t>(text.size()) + 1 + 2);
  config_.preprocessing.overlong_rows = "drop";
  EXPECT_EQ(prepare_file("d.jsonl", "{\"text\": \"" + text + "\"}\n{\"text\": \"z\"}", 6)->dropped, 1);
}

TEST_F(Preparing, InvalidRowsAreCountedWithTheirReasonsWhereTheyMayBeDropped) {
  const std::string rows = R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}
{"messages": []})";
  EXPECT_THAT(error_of("d.jsonl", rows), HasSubstr("d.jsonl: row 2: messages[1]: two user messages in a row"));
  config_.preprocessing.invalid_rows = "drop";
  const auto data = prepare_file("d.jsonl", rows);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data->train.size(), 1U);
  EXPECT_EQ(data->invalid, 3);
  EXPECT_THAT(data->invalid_reasons,
              testing::UnorderedElementsAre(testing::Pair(HasSubstr("messages[]: two user messages"), 2),
                                            testing::Pair(HasSubstr("messages: must be a list"), 1)));
  EXPECT_THAT(error_of("d.jsonl", R"({"messages": []})"), HasSubstr("1 invalid, 0 for validation"));
}

class Labelling : public Preparing {
 protected:
  Labelling() {
    config_.input_features = {{"text", "text"}};
    config_.output_features = {{"label", "category"}};
    config_.preprocessing.split = {"fixed", {}, "split"};
  }
};

TEST_F(Labelling, LabelsAreThoseOfTheTrainRowsInOrder) {
  const auto data = prepare_file("d.csv", "text,label,split\na,spam,train\nb,ham,train\nc,spam,eval\n");
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_THAT(data->labels, testing::ElementsAre("ham", "spam"));
  EXPECT_EQ(all_of(data->train)[0].label, 1);
  EXPECT_EQ(all_of(data->train)[1].label, 0);
  EXPECT_EQ(all_of(data->validation)[0].label, 1);
  EXPECT_EQ(shown(data)[0], "<s>a");
}

TEST_F(Labelling, LabelsThatNoTrainRowHasAreRefusedByName) {
  EXPECT_THAT(error_of("d.csv", "text,label,split\na,spam,train\nb,eggs,eval\nc,ham,eval\nd,eggs,eval\n"),
              HasSubstr("d.csv: row 2: a validation row has a label that no training row has ('eggs', 'ham')"));
}

TEST_F(Labelling, StratifiedSplitsKeepTheShareOfEveryLabel) {
  config_.preprocessing.split = {"stratify", {0.5, 0.25, 0.25}, "label"};
  std::string rows = "text,label\n";
  for (int i = 0; i < 120; ++i) rows += "t" + std::to_string(i) + (i % 3 == 0 ? ",rare\n" : ",often\n");
  const auto data = prepare_file("d.csv", rows);
  ASSERT_TRUE(data.ok()) << data.error().message;
  const auto count = [](const ExampleSet& set, int32_t label) {
    const std::vector<Example> examples = all_of(set);
    return std::count_if(examples.begin(), examples.end(), [&](const Example& e) { return e.label == label; });
  };
  EXPECT_EQ(count(data->train, 0), 40);
  EXPECT_EQ(count(data->train, 1), 20);
  EXPECT_EQ(count(data->validation, 0), 20);
  EXPECT_EQ(count(data->validation, 1), 10);
  EXPECT_EQ(count(data->test, 1), 10);
  EXPECT_EQ(data->prompts.size(), 8U);
  EXPECT_EQ(prepare_file("d.csv", rows)->digest, data->digest);
  config_.random_seed = 7;
  EXPECT_NE(prepare_file("d.csv", rows)->digest, data->digest);
}

TEST_F(Preparing, EqualRowsHaveEqualDigests) {
  const auto data = prepare_file("d.jsonl", R"({"prompt": "a b", "completion": "c"}
{"prompt": "a b", "completion": "c"}
{"prompt": " A  B", "completion": "C "}
{"prompt": "a", "completion": "bc"})");
  ASSERT_TRUE(data.ok());
  const auto records = records_of(*data);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].exact, records[1].exact);
  EXPECT_NE(records[0].exact, records[2].exact);
  EXPECT_EQ(records[0].near, records[2].near);
  EXPECT_NE(records[0].near, records[3].near);
}

TEST_F(Preparing, SampleRatioLeavesRowsOut) {
  config_.preprocessing.sample_ratio = 0.25;
  config_.preprocessing.split.type = "random";
  const auto data = prepare_file("d.jsonl", many_rows(2000));
  ASSERT_TRUE(data.ok());
  EXPECT_NEAR(static_cast<double>(data->train.size()), 500, 80);
  EXPECT_EQ(data->sampled_out + static_cast<int64_t>(data->train.size()), 2000);
}

}  // namespace
}  // namespace graft::recipe
