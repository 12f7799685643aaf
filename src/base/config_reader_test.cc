#include "base/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ConfigTree parse(std::string_view text) {
  auto tree = ConfigTree::parse_yaml(text, "c.yaml");
  EXPECT_TRUE(tree.ok());
  return std::move(tree).value();
}

TEST(ConfigReader, ReadsEveryType) {
  const ConfigTree tree = parse(
      "i: 8\nplus: +8\nd: 1e-4\nwhole: 3\nb: true\ns: text\nd8: \"8\"\nl: [a, b]\nn: [0.9, 1]\nm: {q_proj: 4}\nz: "
      "null\n");
  ConfigReader reader(tree);
  EXPECT_EQ(reader.integer("i"), 8);
  EXPECT_EQ(reader.integer("plus"), 8);
  EXPECT_EQ(reader.number("d"), 1e-4);
  EXPECT_EQ(reader.number("whole"), 3.0);
  EXPECT_EQ(reader.boolean("b"), true);
  EXPECT_EQ(reader.string("s"), "text");
  EXPECT_EQ(reader.string("d8"), "8");
  EXPECT_THAT(*reader.strings("l"), ElementsAre("a", "b"));
  EXPECT_THAT(*reader.numbers("n"), ElementsAre(0.9, 1.0));
  EXPECT_THAT(*reader.named_numbers("m"), ElementsAre(testing::Pair("q_proj", 4.0)));
  EXPECT_FALSE(reader.integer("absent").has_value());
  EXPECT_FALSE(reader.integer("z").has_value());
  EXPECT_TRUE(reader.is_null("z"));
  EXPECT_FALSE(reader.is_null("absent"));
  EXPECT_TRUE(reader.finish().ok());
}

TEST(ConfigReader, UnknownKeysAreReportedWithLineAndSuggestion) {
  const ConfigTree tree = parse("trainer:\n  learning_rat: 1\nepochs: 3\nzebra: 1\n");
  ConfigReader reader(tree);
  ConfigReader trainer = reader.section("trainer");
  trainer.number("learning_rate");
  trainer.integer("epochs");
  const Status status = reader.finish();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            "c.yaml:2: trainer.learning_rat: unknown key; did you mean learning_rate?\n"
            "c.yaml:3: epochs: unknown key; did you mean trainer.epochs?\n"
            "c.yaml:4: zebra: unknown key; known keys: trainer");
}

TEST(ConfigReader, UnknownKeysInsideListsAreFound) {
  const ConfigTree tree = parse("features:\n  - name: a\n  - nam: b\n");
  ConfigReader reader(tree);
  for (auto& feature : reader.sections("features")) feature.string("name");
  EXPECT_EQ(reader.finish().error().message, "c.yaml:3: features.1.nam: unknown key; did you mean name?");
}

TEST(ConfigReader, KeysOfAbsentSectionsAreKnownForSuggestions) {
  const ConfigTree tree = parse("epochs: 3\n");
  ConfigReader reader(tree);
  reader.section("trainer").integer("epochs");
  EXPECT_THAT(reader.finish().error().message, HasSubstr("did you mean trainer.epochs?"));
}

TEST(ConfigReader, WrongTypesAndBoundsAreReportedTogether) {
  const ConfigTree tree =
      parse("a: \"8\"\nb: 1.5\nc: yes\nd: [1]\ne: 0\nf: 0\ng: .inf\nh: x\ni: 99999999999999999999\nj: linaer\nk: 3\n");
  ConfigReader reader(tree);
  reader.integer("a");
  reader.integer("b");
  reader.boolean("c");
  reader.string("d");
  reader.integer("e", {.min = 1});
  reader.number("f", {.min = 0, .open_min = true});
  reader.number("g");
  reader.section("h");
  reader.integer("i");
  const std::vector<std::string> allowed = {"cosine", "linear"};
  reader.choice("j", allowed);
  reader.strings("k");
  EXPECT_EQ(reader.finish().error().message,
            "c.yaml:1: a: expected an integer, found the string \"8\"\n"
            "c.yaml:2: b: expected an integer, found 1.5\n"
            "c.yaml:3: c: expected true or false, found yes\n"
            "c.yaml:4: d: expected text, found a list\n"
            "c.yaml:5: e: must be at least 1, is 0\n"
            "c.yaml:6: f: must be above 0, is 0\n"
            "c.yaml:7: g: expected a number, found .inf\n"
            "c.yaml:8: h: expected a section (keys and values below it), found x\n"
            "c.yaml:9: i: expected an integer, found 99999999999999999999\n"
            "c.yaml:10: j: 'linaer' is not one of cosine, linear; did you mean linear?\n"
            "c.yaml:11: k: expected a list, found 3");
}

TEST(ConfigReader, OverridesAreNamedAsSuch) {
  ConfigTree tree = parse("a: 1\n");
  ASSERT_TRUE(tree.set("b.c=x").ok());
  ConfigReader reader(tree);
  reader.integer("a");
  reader.section("b").integer("c");
  EXPECT_EQ(reader.finish().error().message, "--set b.c=x: b.c: expected an integer, found x");
}

TEST(ConfigReader, OwnChecksFailAtTheKeysPlace) {
  const ConfigTree tree = parse("a: 1\ntrainer:\n  b: 2\n");
  ConfigReader reader(tree);
  reader.integer("a");
  ConfigReader trainer = reader.section("trainer");
  trainer.integer("b");
  trainer.fail("b", "not supported yet");
  reader.fail("missing", "is required");
  EXPECT_EQ(reader.finish().error().message, "c.yaml:1: missing: is required\nc.yaml:3: trainer.b: not supported yet");
}

}  // namespace
}  // namespace graft
