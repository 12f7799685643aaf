#include "serving/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace graft::serving {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

Outcome feed(StopMatcher matcher, const std::vector<std::string>& pieces) {
  Outcome outcome;
  for (const std::string& piece : pieces) {
    const auto match = matcher.push(piece);
    outcome.text += match.text;
    if (match.stopped) return {outcome.text, true};
  }
  outcome.text += matcher.finish();
  return outcome;
}

TEST(StopMatcher, FindsAStopAcrossPieces) {
  EXPECT_EQ(feed({{"STOP"}, true}, {"ab S", "T", "OP cd"}), (Outcome{"ab STOP", true}));
  EXPECT_EQ(feed({{"STOP"}, false}, {"ab S", "T", "OP cd"}), (Outcome{"ab ", true}));
}

TEST(StopMatcher, WithoutAMatchAllTextComesOut) {
  EXPECT_EQ(feed({{"STOP"}, true}, {"ST", "O", ""}), (Outcome{"STO", false}));
  EXPECT_EQ(feed({{"STOP"}, false}, {"ST", "O", ""}), (Outcome{"STO", false}));
  EXPECT_EQ(feed({{}, false}, {"a", "b"}), (Outcome{"ab", false}));
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBeginAStop) {
  StopMatcher matcher({"\n\n"}, false);
  EXPECT_EQ(matcher.push("line\n").text, "line");
  EXPECT_EQ(matcher.push("next").text, "\nnext");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, KeptTextIsNeverHeldBack) {
  StopMatcher matcher({"\n\n"}, true);
  EXPECT_EQ(matcher.push("line\n").text, "line\n");
  EXPECT_EQ(matcher.push("\nmore").text, "\n");
}

TEST(StopMatcher, WhatEndsFirstWinsThenTheLonger) {
  EXPECT_EQ(feed({{"bcd", "c"}, true}, {"abcd"}), (Outcome{"abc", true}));
  EXPECT_EQ(feed({{"c", "bc"}, false}, {"abcd"}), (Outcome{"a", true}));
}

TEST(StopMatcher, RepetitiveStopsAreFoundAnywhere) {
  EXPECT_EQ(feed({{"aab"}, false}, {"a", "a", "a", "a", "b", "x"}), (Outcome{"aa", true}));
}

// However the text is cut, the outcome is that of the whole text at once.
TEST(StopMatcher, CutsDoNotMatter) {
  std::mt19937 random(4);
  for (int trial = 0; trial < 3000; ++trial) {
    const auto word = [&](size_t longest) {
      std::string text;
      for (size_t i = 0, n = 1 + random() % longest; i < n; ++i) text += static_cast<char>('a' + random() % 2);
      return text;
    };
    const std::vector<std::string> stops{word(4), word(5) + "c"};
    const std::string text = word(12) + (random() % 2 == 0 ? "c" : "") + word(6);
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t size = random() % 4;
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    for (const bool keep : {true, false}) {
      EXPECT_EQ(feed({stops, keep}, pieces), feed({stops, keep}, {text})) << text << " " << stops[0] << " " << stops[1];
    }
  }
}

}  // namespace
}  // namespace graft::serving
