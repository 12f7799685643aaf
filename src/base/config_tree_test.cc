#include "base/config_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "base/philox.h"

namespace graft {
namespace {

using testing::HasSubstr;
using Kind = ConfigNode::Kind;

std::string error_of(const Result<ConfigTree>& result) { return result.ok() ? "no error" : result.error().message; }
std::string yaml_error(std::string_view text) { return error_of(ConfigTree::parse_yaml(text, "c.yaml")); }
std::string json_error(std::string_view text) { return error_of(ConfigTree::parse_json(text, "c.json")); }

bool same(const ConfigNode& a, const ConfigNode& b) {
  if (a.kind != b.kind || a.text != b.text || a.items.size() != b.items.size()) return false;
  if (a.entries.size() != b.entries.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!same(a.items[i], b.items[i])) return false;
  }
  for (size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].key != b.entries[i].key || !same(a.entries[i].value, b.entries[i].value)) return false;
  }
  return true;
}

constexpr std::string_view kYaml = R"(# a comment
model_type: llm
trainer:
  learning_rate: 1e-4
  epochs: 3
prompt:
  template: |
    Hello {name}
input_features:
  - name: text
    type: text
empty:
"quoted key": "8"
)";

TEST(ConfigTree, KeepsValuesLinesAndQuotes) {
  const auto tree = ConfigTree::parse_yaml(kYaml, "c.yaml");
  ASSERT_TRUE(tree.ok()) << tree.error().message;
  const ConfigNode& root = tree->root();
  EXPECT_EQ(root.find("trainer")->find("learning_rate")->text, "1e-4");
  EXPECT_EQ(root.find("trainer")->find("epochs")->line, 5);
  EXPECT_EQ(root.find("prompt")->find("template")->text, "Hello {name}\n");
  EXPECT_TRUE(root.find("prompt")->find("template")->quoted);
  EXPECT_EQ(root.find("input_features")->items[0].find("name")->text, "text");
  EXPECT_EQ(root.find("empty")->kind, Kind::kNull);
  EXPECT_TRUE(root.find("quoted key")->quoted);
  EXPECT_FALSE(root.find("model_type")->quoted);
  EXPECT_EQ(tree->place(*root.find("empty")), "c.yaml:12");
}

TEST(ConfigTree, JsonGivesTheSameTreeAsYaml) {
  const std::string_view json =
      "{\n \"a\": {\"b\": [1, -2.5e3,\n \"x\\ud83d\\ude00\"]},\n \"n\": null,\n \"t\": true\n}";
  const auto from_json = ConfigTree::parse(json, "c.json");
  ASSERT_TRUE(from_json.ok()) << from_json.error().message;
  const auto from_yaml = ConfigTree::parse("a:\n  b: [1, -2.5e3, \"x\xF0\x9F\x98\x80\"]\nn: null\nt: true\n", "c.yaml");
  ASSERT_TRUE(from_yaml.ok()) << from_yaml.error().message;
  EXPECT_TRUE(same(from_json->root(), from_yaml->root()));
  EXPECT_EQ(from_json->root().find("a")->find("b")->items[0].line, 2);
  EXPECT_EQ(from_json->root().find("a")->find("b")->items[2].line, 3);
  EXPECT_EQ(from_json->root().find("n")->line, 4);
  EXPECT_EQ(from_json->root().find("t")->line, 5);
}

TEST(ConfigTree, EmptyFileIsAnEmptyConfig) {
  for (const std::string_view text : {"", "\n", "# only a comment\n", "---\n", "\xEF\xBB\xBF"}) {
    const auto tree = ConfigTree::parse_yaml(text, "c.yaml");
    ASSERT_TRUE(tree.ok()) << tree.error().message;
    EXPECT_EQ(tree->root().kind, Kind::kMap);
    EXPECT_TRUE(tree->root().entries.empty());
  }
}

TEST(ConfigTree, DuplicateKeysAreErrorsThatNameBothLines) {
  EXPECT_EQ(yaml_error("a: 1\nb: 2\na: 3\n"), "c.yaml:3: key 'a' is there twice (first on line 1)");
  EXPECT_EQ(json_error("{\"a\": 1,\n\"a\": 2}"), "c.json:2: key 'a' is there twice (first on line 1)");
}

TEST(ConfigTree, AnchorsAliasesAndTagsAreRefused) {
  EXPECT_THAT(yaml_error("a: &x [1, 1]\nb: [*x, *x]\n"), HasSubstr("c.yaml:1: anchors and aliases"));
  EXPECT_THAT(yaml_error("a: 1\nb: !!python/object:os.system x\n"), HasSubstr("c.yaml:2: tag"));
}

TEST(ConfigTree, TabsInTheIndentationAreRefused) {
  EXPECT_THAT(yaml_error("trainer:\n\tepochs: 3\n"), HasSubstr("c.yaml:2: a tab"));
  EXPECT_THAT(yaml_error("trainer:\n  \tepochs: 3\n"), HasSubstr("c.yaml:2: a tab"));
  EXPECT_EQ(yaml_error("a: x\ty\n"), "no error");
}

TEST(ConfigTree, OtherMalformedTextsAreErrorsWithTheirLine) {
  EXPECT_THAT(yaml_error("a: 1\n---\nb: 2\n"), HasSubstr("a second document"));
  EXPECT_THAT(yaml_error("a: [1, 2\n"), HasSubstr("c.yaml:2: not valid YAML"));
  EXPECT_THAT(yaml_error("- 1\n- 2\n"), HasSubstr("expected keys and values"));
  EXPECT_THAT(yaml_error("[a]: 1\n"), HasSubstr("key must be a plain value"));
  EXPECT_THAT(yaml_error("a: \xFF\n"), HasSubstr("UTF-8"));
  EXPECT_THAT(yaml_error(std::string_view("a: \0b", 5)), HasSubstr("NUL"));
  EXPECT_THAT(json_error("{\"a\": 1,\n\"b\": }"), HasSubstr("c.json:2: not valid JSON near"));
  EXPECT_THAT(json_error("[1]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(json_error(""), HasSubstr("not valid JSON"));
}

TEST(ConfigTree, DeepAndLargeTextsAreRefused) {
  EXPECT_THAT(yaml_error("a: " + std::string(10000, '[')), HasSubstr("c.yaml"));
  EXPECT_THAT(yaml_error("a: " + std::string(100, '[') + std::string(100, ']')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(json_error("{\"a\":" + std::string(100000, '[')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(yaml_error("a: " + std::string(2 << 20, 'x')), HasSubstr("larger than 1 MiB"));
}

TEST(ConfigTree, LoadsFilesAndNamesTheMissing) {
  EXPECT_THAT(error_of(ConfigTree::load("/nonexistent/c.yaml")), HasSubstr("c.yaml: No such file"));
  const std::string path = testing::TempDir() + "config_tree_test.json";
  std::ofstream(path) << R"({"a": 1})";
  const auto tree = ConfigTree::load(path);
  ASSERT_TRUE(tree.ok()) << tree.error().message;
  EXPECT_EQ(tree->root().find("a")->text, "1");
  std::remove(path.c_str());
}

TEST(ConfigTree, SetOverridesAndMakesSections) {
  auto tree = ConfigTree::parse_yaml(kYaml, "c.yaml");
  ASSERT_TRUE(tree.ok());
  ASSERT_TRUE(tree->set("trainer.epochs=5").ok());
  ASSERT_TRUE(tree->set("adapter.target_modules=[q_proj, \"v_proj\"]").ok());
  ASSERT_TRUE(tree->set("input_features.0.name=body").ok());
  ASSERT_TRUE(tree->set("prompt.template=Classify: {text}").ok());
  ASSERT_TRUE(tree->set("trainer.learning_rate=").ok());
  ASSERT_TRUE(tree->set("empty.below=1").ok());
  const ConfigNode& root = tree->root();
  EXPECT_EQ(root.find("trainer")->find("epochs")->text, "5");
  EXPECT_EQ(tree->place(*root.find("trainer")->find("epochs")), "--set trainer.epochs=5");
  EXPECT_EQ(root.find("adapter")->find("target_modules")->items[1].text, "v_proj");
  EXPECT_EQ(root.find("input_features")->items[0].find("name")->text, "body");
  EXPECT_EQ(root.find("prompt")->find("template")->text, "Classify: {text}");
  EXPECT_EQ(root.find("trainer")->find("learning_rate")->kind, Kind::kNull);
  EXPECT_EQ(root.find("empty")->find("below")->text, "1");
}

TEST(ConfigTree, WrongOverridesAreErrorsAndChangeNothing) {
  auto tree = ConfigTree::parse_yaml(kYaml, "c.yaml");
  ASSERT_TRUE(tree.ok());
  const ConfigNode before = tree->root();
  for (const char* wrong : {"trainer", "=5", "a..b=1", "model_type.x=1", "input_features.1.name=x",
                            "input_features.name=x", "adapter.new=[1", "a=\xFF"}) {
    const Status status = tree->set(wrong);
    ASSERT_FALSE(status.ok()) << wrong;
    EXPECT_THAT(status.error().message, HasSubstr("--set")) << wrong;
  }
  EXPECT_TRUE(same(before, tree->root()));
}

// A random tree of the kinds that a resolved config holds, with nasty texts.
ConfigNode random_node(PhiloxStream& random, int depth) {
  static const std::vector<std::string> kTexts = {"plain",
                                                  "two words",
                                                  "",
                                                  " lead",
                                                  "trail ",
                                                  "true",
                                                  "null",
                                                  "8",
                                                  "1e3",
                                                  "a: b",
                                                  "# no comment",
                                                  "- x",
                                                  "[x",
                                                  "\xC3\xA9",
                                                  "\xF0\x9F\x98\x80",
                                                  "line\nline",
                                                  "line\n",
                                                  "\nline",
                                                  "a\n\nb\n",
                                                  "a\n\n",
                                                  "x \ny",
                                                  "  two\n a",
                                                  "tab\tx",
                                                  "quote\" \\ '",
                                                  "bell\x07",
                                                  "del\x7F",
                                                  "a\r\nb",
                                                  "{column}\n  indented\n",
                                                  "---\nx",
                                                  "%x",
                                                  "@x",
                                                  "`x",
                                                  "yes",
                                                  "~"};
  const uint64_t pick = random.below(depth > 3 ? 4 : 6);
  if (pick == 0) return ConfigNode::integer(static_cast<int64_t>(random.next_u64()));
  if (pick == 1) return ConfigNode::boolean(random.below(2) == 0);
  if (pick <= 3) return ConfigNode::string(kTexts[random.below(kTexts.size())]);
  ConfigNode node = pick == 4 ? ConfigNode::list() : ConfigNode::map();
  for (uint64_t i = random.below(4); i > 0; --i) {
    if (pick == 4) {
      node.items.push_back(random_node(random, depth + 1));
    } else {
      node.put(kTexts[random.below(kTexts.size())], random_node(random, depth + 1));
    }
  }
  return node;
}

TEST(ConfigTree, EmittedYamlReadsBackTheSame) {
  PhiloxStream random(11, 0);
  for (int round = 0; round < 500; ++round) {
    ConfigNode root = ConfigNode::map();
    for (int i = 0; i < 6; ++i) root.put("key" + std::to_string(i), random_node(random, 0));
    const std::string yaml = to_yaml(root);
    const auto again = ConfigTree::parse_yaml(yaml, "c.yaml");
    ASSERT_TRUE(again.ok()) << again.error().message << "\n" << yaml;
    ASSERT_TRUE(same(root, again->root())) << yaml;
  }
}

TEST(ConfigTree, NumbersSurviveEmission) {
  PhiloxStream random(3, 0);
  for (int round = 0; round < 1000; ++round) {
    const double value = (random.next_double() - 0.5) * std::pow(10.0, static_cast<double>(random.below(40)) - 20);
    EXPECT_EQ(std::stod(ConfigNode::number(value).text), value);
  }
}

TEST(ConfigTree, HostileTextsNeverCrash) {
  const std::string json = R"({"a": {"b": [1, 2.5, "xé\n"]}, "n": null, "t": true})";
  for (const std::string& text : {std::string(kYaml), json}) {
    for (size_t length = 0; length <= text.size(); ++length) {
      (void)ConfigTree::parse_yaml(std::string_view(text).substr(0, length), "c.yaml");
      (void)ConfigTree::parse_json(std::string_view(text).substr(0, length), "c.json");
    }
    PhiloxStream random(1, 1);
    for (int round = 0; round < 3000; ++round) {
      std::string mutated = text;
      for (uint64_t i = 0; i <= random.below(4); ++i) {
        static constexpr std::string_view kNasty = "\n\t {}[]:-\"'|>&*!%#?@,\\\xFF\x80";
        const char byte =
            random.below(2) == 0 ? kNasty[random.below(kNasty.size())] : static_cast<char>(random.below(256));
        mutated[random.below(mutated.size())] = byte;
      }
      const auto yaml = ConfigTree::parse_yaml(mutated, "c.yaml");
      EXPECT_TRUE(yaml.ok() || yaml.error().message.starts_with("c.yaml")) << yaml.error().message;
      const auto as_json = ConfigTree::parse_json(mutated, "c.json");
      EXPECT_TRUE(as_json.ok() || as_json.error().message.starts_with("c.json")) << as_json.error().message;
    }
  }
}

}  // namespace
}  // namespace graft
