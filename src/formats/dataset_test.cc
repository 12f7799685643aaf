#include "formats/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/test_directory.h"
#include "base/utf8.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;

class Dataset : public testing::Test {
 protected:
  // The rows as JSON text, or the error as the last entry.
  std::vector<std::string> rows(const std::string& name, std::string_view bytes, const DatasetOptions& options = {}) {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    std::vector<std::string> out;
    auto reader = DatasetReader::open(dir_ / name, options);
    if (!reader.ok()) return {reader.error().message};
    while (true) {
      auto row = (*reader)->next();
      if (!row.ok()) {
        out.push_back(row.error().message);
        return out;
      }
      if (!row->has_value()) return out;
      EXPECT_EQ((*row)->number, static_cast<int64_t>(out.size()) + 1);
      last_line_ = (*row)->line;
      out.push_back((*row)->columns.dump());
    }
  }

  TestDirectory dir_;
  int64_t last_line_ = 0;
};

TEST_F(Dataset, JsonLinesSkipBlankLinesAndKeepTheOrderOfColumns) {
  EXPECT_THAT(rows("a.jsonl", "\xEF\xBB\xBF{\"z\":1,\"a\":[2]}\r\n\n  \n{\"b\":\"x\\n\"}"),
              ElementsAre(R"({"z":1,"a":[2]})", R"({"b":"x\n"})"));
  EXPECT_EQ(last_line_, 4);
}

TEST_F(Dataset, JsonLinesNameTheRowAndLineOfAnError) {
  EXPECT_THAT(rows("a.jsonl", "{\"a\":1}\n\n{\"a\":}\n"),
              ElementsAre(R"({"a":1})", AllOf(HasSubstr("a.jsonl: row 2 (line 3)"), HasSubstr("not valid JSON"))));
  EXPECT_THAT(rows("a.jsonl", "[1]"), ElementsAre(HasSubstr("must be a JSON object with a key per column, not array")));
  EXPECT_THAT(rows("a.jsonl", "{\"a\":\"\xff\"}"), ElementsAre(HasSubstr("row 1 (line 1): byte 6")));
  EXPECT_THAT(rows("a.jsonl", "{\"a\":1,\"a\":2}"), ElementsAre(HasSubstr("duplicate key 'a'")));
  EXPECT_THAT(rows("a.jsonl", "{\"a\":\"1234567890\"}", {.row_limit = 10}),
              ElementsAre(HasSubstr("limit of 10 bytes")));
}

TEST_F(Dataset, JsonArraysAreSplitOutsideStringsAndBrackets) {
  EXPECT_THAT(rows("a.json", " [ {\"a\":\"],[\\\"}\"} ,\n{\"b\":[{\"c\":{}},[]]}\n]\n"),
              ElementsAre(R"({"a":"],[\"}"})", R"({"b":[{"c":{}},[]]})"));
  EXPECT_EQ(last_line_, 2);
  EXPECT_THAT(rows("a.json", "[]"), ElementsAre());
}

TEST_F(Dataset, BrokenJsonArraysAreErrors) {
  EXPECT_THAT(rows("a.json", "{\"a\":1}"), ElementsAre(HasSubstr("one array of objects")));
  EXPECT_THAT(rows("a.json", ""), ElementsAre(HasSubstr("one array of objects")));
  EXPECT_THAT(rows("a.json", "[{\"a\":1}"), ElementsAre(HasSubstr("cut short")));
  EXPECT_THAT(rows("a.json", "[{\"a\":1},]"), testing::Contains(HasSubstr("row 2")));
  EXPECT_THAT(rows("a.json", "[{\"a\":1},,{}]"), testing::Contains(HasSubstr("row 2")));
  EXPECT_THAT(rows("a.json", "[{\"a\":1}]x"), testing::Contains(HasSubstr("after the end of the array")));
  EXPECT_THAT(rows("a.json", "[{\"a\":1}}"), ElementsAre(HasSubstr("unexpected '}'")));
  EXPECT_THAT(rows("a.json", "[}]"), ElementsAre(HasSubstr("unexpected '}'")));
  EXPECT_THAT(rows("a.json", "[{\"a\": \"x"), ElementsAre(HasSubstr("cut short")));
}

TEST_F(Dataset, CsvFieldsMayHoldCommasQuotesAndLineBreaks) {
  EXPECT_THAT(rows("a.csv", "\xEF\xBB\xBFname,text\r\nx,\"a,\"\"b\"\"\r\nc\"\r\n\r\n\"\",5\" pipe\ny,"),
              ElementsAre(R"({"name":"x","text":"a,\"b\"\r\nc"})", R"({"name":"","text":"5\" pipe"})",
                          R"({"name":"y","text":""})"));
  EXPECT_EQ(last_line_, 6);
}

TEST_F(Dataset, RaggedAndBrokenCsvNamesTheRow) {
  EXPECT_THAT(rows("a.csv", "a,b\n1,2\n3\n"), ElementsAre(testing::_, HasSubstr("row 2 (line 3): 1 fields")));
  EXPECT_THAT(rows("a.csv", "a,b\n1,2,3\n"), ElementsAre(HasSubstr("row 1 (line 2): 3 fields")));
  EXPECT_THAT(rows("a.csv", "a,b\n1,\"2\n"), ElementsAre(HasSubstr("inside a quoted field")));
  EXPECT_THAT(rows("a.csv", "a,b\n1,\"2\"x\n"), ElementsAre(HasSubstr("text after the closing quote of field 2")));
  EXPECT_THAT(rows("a.csv", "a,b\n1,\xff\n"), ElementsAre(HasSubstr("byte 0 of field 2 is not valid UTF-8")));
  EXPECT_THAT(rows("a.csv", "a,a\n1,2\n"), ElementsAre(HasSubstr("column 'a' is named twice")));
  EXPECT_THAT(rows("a.csv", "a,\n1,2\n"), ElementsAre(HasSubstr("column 2 has no name")));
  EXPECT_THAT(rows("a.csv", ""), ElementsAre(HasSubstr("must name the columns")));
}

TEST_F(Dataset, UnknownAndMissingFilesAreErrors) {
  EXPECT_THAT(rows("a.orc", ""), ElementsAre(HasSubstr("unknown kind of dataset '.orc'")));
  EXPECT_THAT(rows("a.xls", ""), ElementsAre(HasSubstr("save the workbook as .xlsx")));
  EXPECT_THAT(rows("a.xlsx.gz", ""), ElementsAre(HasSubstr("unpack it first")));
  EXPECT_EQ(DatasetReader::open(dir_ / "none.csv").error().kind, ErrorKind::kNotFound);
}

TEST_F(Dataset, RowsLargerThanTheReadBufferSurvive) {
  const std::string big(700000, 'x');
  const auto jsonl = rows("a.jsonl", "{\"a\":\"" + big + "\"}\n{\"a\":\"" + big + "\"}\n");
  ASSERT_EQ(jsonl.size(), 2U);
  EXPECT_EQ(jsonl[1], "{\"a\":\"" + big + "\"}");
  EXPECT_EQ(rows("a.csv", "a\n" + big + "\n\"" + big + "\"\n").size(), 2U);
}

// Whatever the bytes are: rows or an error of one line, never more.
TEST_F(Dataset, CutAndMutatedFilesGiveRowsOrOneLineErrors) {
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"a.jsonl", "{\"a\":\"x\\u00e9\",\"b\":[1,2]}\n{\"a\":null}\n"},
      {"a.json", "[{\"a\":\"x\\\"]\",\"b\":[1,2]}, {\"a\":{\"c\":null}}]"},
      {"a.csv", "a,b\n1,\"2,\"\"\n3\"\n\"\",é\n"},
  };
  std::mt19937 random(7);
  for (const auto& [name, seed] : seeds) {
    std::vector<std::string> variants;
    for (size_t length = 0; length < seed.size(); ++length) variants.push_back(seed.substr(0, length));
    for (int i = 0; i < 300; ++i) {
      std::string mutant = seed;
      for (int change = 0; change < 3; ++change) mutant[random() % mutant.size()] = static_cast<char>(random());
      variants.push_back(std::move(mutant));
    }
    for (const std::string& variant : variants) {
      for (const std::string& row : rows(name, variant)) {
        EXPECT_EQ(row.find('\n'), std::string::npos);
        EXPECT_TRUE(is_valid_utf8(row));
      }
    }
  }
}

}  // namespace
}  // namespace graft::formats
