// The character tables, normalisation and letter case against the package `tokenizers` and Python.

#include <gtest/gtest.h>

#include <set>

#include "text/jinja/python_text.h"
#include "text/oracle.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"
#include "text/unicode/lossy_utf8.h"
#include "text/unicode/normal_form.h"

namespace graft::text {
namespace {

using testing::read_lines;
using testing::read_text;
using testing::run_oracle;

TEST(CharClasses, HoldWhatThePackageTokenizersPutsInThem) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.unicode_cases", "classes", folder.path()));
  const auto expected = nlohmann::json::parse(read_text(folder / "classes.json"));
  const std::pair<const char*, uint8_t> classes[] = {
      {"letters", kLetter}, {"numbers", kNumber}, {"spaces", kSpace}, {"digits", kDigit}, {"word", kWordChar}};
  for (const auto& [name, bit] : classes) {
    const auto members = expected[name].get<std::set<char32_t>>();
    EXPECT_FALSE(members.empty());
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      ASSERT_EQ(CharClasses::get().is(c, bit), members.contains(c))
          << name << " " << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(NormalForm, IsThatOfThePackageTokenizers) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.unicode_cases", "forms", folder.path()));
  const std::pair<const char*, NormalForm> forms[] = {
      {"NFC", NormalForm::kNfc}, {"NFD", NormalForm::kNfd}, {"NFKC", NormalForm::kNfkc}, {"NFKD", NormalForm::kNfkd}};
  for (const auto& line : read_lines(folder / "forms.jsonl")) {
    SCOPED_TRACE(line.dump(-1, ' ', true));
    const auto text = line["text"].get<std::string>();
    for (const auto& [name, form] : forms) {
      const auto expected = line[name].get<std::string>();
      ASSERT_EQ(normal_form(form, text), expected) << name;
      if (!may_change_under(form, text)) {
        ASSERT_EQ(text, expected) << name;
      }
    }
  }
}

// What was composed belongs to the first of its characters, as the package counts it.
TEST(NormalForm, KnowsWhereBytesComeFrom) {
  const std::string text = "ae\xCC\x81z\xEA\xB0\x80\xE1\x86\xA8.";  // a, e + acute, z, GA + final G, full stop
  OffsetMap map;
  const std::string normal = normal_form(NormalForm::kNfc, text, &map);
  ASSERT_EQ(normal, "a\xC3\xA9z\xEA\xB0\x81.");
  using Range = std::pair<size_t, size_t>;
  EXPECT_EQ(map.source(0, 1), Range(0, 1));
  EXPECT_EQ(map.source(1, 3), Range(1, 2));
  EXPECT_EQ(map.source(2, 3), Range(1, 2));
  EXPECT_EQ(map.source(3, 4), Range(4, 5));
  EXPECT_EQ(map.source(4, 7), Range(5, 8));
  EXPECT_EQ(map.source(7, 8), Range(11, 12));
  EXPECT_EQ(map.source(0, 8), Range(0, 12));
}

TEST(PythonText, ChangesCaseAndQuotesAsPythonDoes) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.unicode_cases", "casing", folder.path()));
  for (const auto& line : read_lines(folder / "casing.jsonl")) {
    SCOPED_TRACE(line["text"].dump(-1, ' ', true));
    const jinja::MarkedText text(line["text"].get<std::string>());
    ASSERT_EQ(jinja::upper(text).bytes(), line["upper"].get<std::string>());
    ASSERT_EQ(jinja::lower(text).bytes(), line["lower"].get<std::string>());
    ASSERT_EQ(jinja::title(text).bytes(), line["title"].get<std::string>());
    ASSERT_EQ(jinja::capitalize(text).bytes(), line["capitalize"].get<std::string>());
    ASSERT_EQ(jinja::strip(text, jinja::Side::kBoth, nullptr).bytes(), line["strip"].get<std::string>());
    ASSERT_EQ(jinja::string_repr(text).bytes(), line["repr"].get<std::string>());
  }
}

}  // namespace
}  // namespace graft::text
