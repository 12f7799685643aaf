#include "recipe/row_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft::recipe {
namespace {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

std::string detected(const char* columns) {
  const auto shape = detect_shape(ordered_json::parse(columns));
  return shape.ok() ? std::string(name_of(*shape)) : "error: " + shape.error().message;
}

TEST(RowShape, ColumnsSayTheShape) {
  EXPECT_EQ(detected(R"({"prompt": "", "completion": "", "id": 1})"), "prompt_completion");
  EXPECT_EQ(detected(R"({"instruction": "", "output": ""})"), "alpaca");
  EXPECT_EQ(detected(R"({"instruction": "", "input": "", "output": ""})"), "alpaca");
  EXPECT_EQ(detected(R"({"question": "", "answer": "", "context": ""})"), "question_answer");
  EXPECT_EQ(detected(R"({"messages": [], "prompt": "", "tools": []})"), "messages");
  EXPECT_EQ(detected(R"({"id": "", "conversations": []})"), "sharegpt");
  EXPECT_EQ(detected(R"({"text": "", "url": ""})"), "text");
}

TEST(RowShape, WhatFitsNoneOrSeveralIsAnErrorThatNamesTheWays) {
  EXPECT_THAT(detected(R"({"a": 1, "prompt": 2})"),
              AllOf(HasSubstr("the columns (a, prompt) are none of"), HasSubstr("prompt and completion"),
                    HasSubstr("prompt.template and output_features")));
  EXPECT_THAT(detected("{}"), HasSubstr("the columns (none)"));
  EXPECT_THAT(detected(R"({"messages": [], "text": ""})"),
              AllOf(HasSubstr("messages (messages), text (text)"), HasSubstr("row_format: messages or text")));
  EXPECT_THAT(detected(R"({"instruction": "", "output": "", "text": ""})"), HasSubstr("row_format: alpaca or text"));
  EXPECT_THAT(detected(R"({"text": "", "label": ""})"),
              AllOf(HasSubstr("row_format: text"), HasSubstr("learn the column label from the text")));
}

TEST(RowShape, NamesAreReadBack) {
  for (const std::string& name : row_format_names()) {
    if (name == "auto") continue;
    EXPECT_EQ(name_of(shape_named(name)), name);
  }
}

}  // namespace
}  // namespace graft::recipe
