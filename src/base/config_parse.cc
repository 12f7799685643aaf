#include "base/config_parse.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/strings.h"

namespace graft {
namespace {

constexpr size_t kDeepest = 64;

struct Problem {
  int line;
  std::string message;
};

Error located(const std::string& name, const Problem& problem) {
  return invalid(problem.line > 0 ? fmt::format("{}:{}: {}", name, problem.line, problem.message)
                                  : fmt::format("{}: {}", name, problem.message));
}

// Builds nodes from events of either parser. Throws Problem.
class TreeBuilder {
 public:
  ConfigNode take() { return std::move(result_); }

  void open(ConfigNode::Kind kind, int line) {
    if (stack_.size() >= kDeepest) throw Problem{line, fmt::format("nested deeper than {} levels", kDeepest)};
    Frame frame;
    frame.node.kind = kind;
    frame.node.line = line;
    if (awaits_key()) throw Problem{line, "a key must be a plain value"};
    stack_.push_back(std::move(frame));
  }

  void close() {
    ConfigNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void key(std::string text, int line) {
    Frame& frame = stack_.back();
    const auto same = std::find_if(frame.node.entries.begin(), frame.node.entries.end(),
                                   [&](const auto& e) { return e.key == text; });
    if (same != frame.node.entries.end()) {
      throw Problem{line, fmt::format("key '{}' is there twice (first on line {})", printable(text, 60), same->line)};
    }
    frame.key = std::move(text);
    frame.key_line = line;
  }

  void scalar(std::string text, bool quoted, int line) {
    if (awaits_key()) return key(std::move(text), line);
    ConfigNode node;
    node.kind = ConfigNode::Kind::kScalar;
    node.text = std::move(text);
    node.quoted = quoted;
    node.line = line;
    add(std::move(node));
  }

  void null(int line) {
    if (awaits_key()) throw Problem{line, "a key is missing or null"};
    ConfigNode node;
    node.line = line;
    add(std::move(node));
  }

 private:
  struct Frame {
    ConfigNode node;
    std::optional<std::string> key;
    int key_line = 0;
  };

  [[nodiscard]] bool awaits_key() const {
    return !stack_.empty() && stack_.back().node.kind == ConfigNode::Kind::kMap && !stack_.back().key;
  }

  void add(ConfigNode node) {
    if (stack_.empty()) {
      result_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node.kind == ConfigNode::Kind::kList) {
      frame.node.items.push_back(std::move(node));
      return;
    }
    // yaml-cpp places the null of an empty value at the next key.
    if (node.kind == ConfigNode::Kind::kNull) node.line = frame.key_line;
    frame.node.entries.push_back({std::move(*frame.key), frame.key_line, std::move(node)});
    frame.key.reset();
  }

  std::vector<Frame> stack_;
  ConfigNode result_;
};

class YamlEvents : public YAML::EventHandler {
 public:
  explicit YamlEvents(TreeBuilder& builder) : builder_(builder) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (started_) throw Problem{line(mark), "a second document: one file is one config"};
    started_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    builder_.null(line(mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { refuse_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    builder_.scalar(value, tag == "!", line(mark));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    check(mark, tag, anchor);
    builder_.open(ConfigNode::Kind::kList, line(mark));
  }
  void OnSequenceEnd() override { builder_.close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    check(mark, tag, anchor);
    builder_.open(ConfigNode::Kind::kMap, line(mark));
  }
  void OnMapEnd() override { builder_.close(); }

 private:
  static int line(const YAML::Mark& mark) { return mark.line + 1; }

  static void refuse_anchor(const YAML::Mark& mark) {
    throw Problem{line(mark), "anchors and aliases (& and *) are not allowed: write the value out"};
  }

  // yaml-cpp gives "?" to plain values, "!" to quoted ones, and otherwise the tag that was written.
  static void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) refuse_anchor(mark);
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Problem{line(mark), fmt::format("tag '{}' is not allowed: write the plain value", printable(tag, 60))};
    }
  }

  TreeBuilder& builder_;
  bool started_ = false;
};

// yaml-cpp lets tabs pass as indentation, and other readers see other nesting then.
void refuse_tabs(std::string_view text) {
  int line = 1;
  bool indentation = true;
  for (const char c : text) {
    if (c == '\n') {
      ++line;
      indentation = true;
    } else if (c == '\t' && indentation) {
      throw Problem{line, "a tab in the indentation: use spaces (inside a quoted string, write \\t)"};
    } else if (c != ' ') {
      indentation = false;
    }
  }
}

// Hands the text to nlohmann's parser and keeps count of how far it has read: its events carry no position.
struct CountingIterator {
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at = nullptr;
  const char** reached = nullptr;

  reference operator*() const { return *at; }
  CountingIterator& operator++() {
    ++at;
    if (reached != nullptr) *reached = at;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
  bool operator!=(const CountingIterator& other) const { return at != other.at; }
};

class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonEvents(TreeBuilder& builder, const char* begin) : reached(begin), builder_(builder), counted_(begin) {}

  const char* reached;  // moved by CountingIterator
  Problem problem{0, "not valid JSON"};

  bool null() override { return builder_.null(line()), true; }
  bool boolean(bool value) override { return plain(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return plain(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return plain(std::to_string(value)); }
  bool number_float(number_float_t /*value*/, const string_t& text) override { return plain(text); }
  bool string(string_t& value) override { return builder_.scalar(value, true, line()), true; }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(size_t /*elements*/) override { return builder_.open(ConfigNode::Kind::kMap, line()), true; }
  bool key(string_t& value) override { return builder_.key(value, line()), true; }
  bool end_object() override { return builder_.close(), true; }
  bool start_array(size_t /*elements*/) override { return builder_.open(ConfigNode::Kind::kList, line()), true; }
  bool end_array() override { return builder_.close(), true; }
  bool parse_error(size_t /*position*/, const std::string& token, const nlohmann::json::exception& /*error*/) override {
    problem = {line(), fmt::format("not valid JSON near '{}'", printable(token, 40))};
    return false;
  }

 private:
  bool plain(std::string text) { return builder_.scalar(std::move(text), false, line()), true; }

  // The parser is at most one character past the token, and that one is not counted.
  int line() {
    for (; counted_ + 1 < reached; ++counted_) line_ += *counted_ == '\n' ? 1 : 0;
    return line_;
  }

  TreeBuilder& builder_;
  const char* counted_;
  int line_ = 1;
};

}  // namespace

Result<ConfigNode> parse_yaml_node(std::string_view text, const std::string& name) {
  TreeBuilder builder;
  try {
    refuse_tabs(text);
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    YamlEvents events(builder);
    while (parser.HandleNextDocument(events)) {
    }
    return builder.take();
  } catch (const Problem& problem) {
    return located(name, problem);
  } catch (const YAML::Exception& error) {
    return located(name, {error.mark.is_null() ? 0 : error.mark.line + 1, "not valid YAML: " + error.msg});
  }
}

Result<ConfigNode> parse_json_node(std::string_view text, const std::string& name) {
  TreeBuilder builder;
  JsonEvents events(builder, text.data());
  try {
    const char* end = text.data() + text.size();
    const bool parsed = nlohmann::json::sax_parse(CountingIterator{text.data(), &events.reached},
                                                  CountingIterator{end, nullptr}, &events);
    if (!parsed) return located(name, events.problem);
    return builder.take();
  } catch (const Problem& problem) {
    return located(name, problem);
  } catch (const nlohmann::json::exception&) {
    return located(name, events.problem);
  }
}

}  // namespace graft
