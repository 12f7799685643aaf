#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/test_directory.h"
#include "base/utf8.h"

namespace graft {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kKeys = {"epochs", "learning_rate", "batch_size"};

TEST(Strings, TheNearestKeyIsSuggested) {
  EXPECT_EQ(did_you_mean("epoch", kKeys), "epochs");
  EXPECT_EQ(did_you_mean("leraning_rate", kKeys), "learning_rate");
  EXPECT_EQ(did_you_mean("BATCH_SIZE", kKeys), "batch_size");
  EXPECT_EQ(did_you_mean("optimizer", kKeys), std::nullopt);
  EXPECT_EQ(did_you_mean("", kKeys), std::nullopt);
  EXPECT_EQ(did_you_mean(std::string(100000, 'e'), kKeys), std::nullopt);
}

TEST(Strings, ASuggestionFallsBackToWhatIsKnown) {
  EXPECT_EQ(suggestion("epocsh", kKeys), "; did you mean 'epochs'?");
  EXPECT_EQ(suggestion("xyz", kKeys), "; known: epochs, learning_rate, batch_size");
}

TEST(Strings, PrintableKeepsMessagesOnOneShortLine) {
  EXPECT_EQ(printable("a\nb\xff\tc\x7f é"), "a?b??c? é");
  EXPECT_EQ(printable(std::string(50, 'a') + std::string(50, 'b'), 20), "aaaaaaaaaa...bbbbbbbbbb");
  for (size_t length = 0; length < 40; ++length) {
    std::string text;
    while (text.size() < length) text += "é";
    EXPECT_TRUE(is_valid_utf8(printable(text, 9))) << length;
    EXPECT_LE(printable(text, 9).size(), 14U) << length;
  }
}

TEST(Utf8, IllFormedSequencesAreFoundAtTheirFirstByte) {
  EXPECT_TRUE(is_valid_utf8("plain, \u00e9, \u20ac, \U0001F600, \U0010FFFF"));
  EXPECT_EQ(find_invalid_utf8("ab\xc3"), 2U);
  EXPECT_EQ(find_invalid_utf8("\xc0\xaf"), 0U);          // overlong
  EXPECT_EQ(find_invalid_utf8("\xe0\x80\xaf"), 0U);      // overlong
  EXPECT_EQ(find_invalid_utf8("x\xed\xa0\x80"), 1U);     // surrogate
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0U);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xf0\x9f\x98"), 0U);      // cut short
  EXPECT_EQ(find_invalid_utf8("ok\x80"), 2U);            // lone continuation
}

TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 digest;
  digest.update("a");
  digest.update("bc");
  EXPECT_EQ(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "f", "abc").ok());
  EXPECT_EQ(sha256_file(dir / "f").value(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Json, DuplicateKeysAndDepthAreRefused) {
  EXPECT_THAT(parse_json(R"({"a":1,"b":{"a":2},"a":3})").error().message, HasSubstr("duplicate key 'a'"));
  EXPECT_TRUE(parse_json(R"([{"a":1},{"a":2},{"b":{"a":{}},"a":[]}])").ok());
  EXPECT_THAT(parse_json(std::string(100000, '[')).error().message, HasSubstr("nested deeper"));
}

TEST(Json, ErrorsNameTheLineAndStayOnOneLine) {
  const Error error = parse_json("{\n\"a\": \"\xff\n\"}").error();
  EXPECT_THAT(error.message, HasSubstr("line 2"));
  EXPECT_EQ(error.message.find('\n'), std::string::npos);
  EXPECT_TRUE(is_valid_utf8(error.message));
  EXPECT_LT(parse_json("\"" + std::string(1 << 20, 'x')).error().message.size(), 400U);
  EXPECT_FALSE(parse_json("{} x").ok());
  EXPECT_FALSE(parse_json("").ok());
}

TEST(Json, TheOrderedKindKeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_ordered_json(R"({"z":1,"a":2})").value().dump(), R"({"z":1,"a":2})");
}

}  // namespace
}  // namespace graft
