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
    outcome.text += piece.substr(0, match.size);
    if (match.stopped) return {outcome.text, true};
  }
  return outcome;
}

TEST(StopMatcher, FindsAStopAcrossPiecesAndCutsBehindIt) {
  EXPECT_EQ(feed(StopMatcher({"STOP"}), {"ab S", "T", "OP cd"}), (Outcome{"ab STOP", true}));
}

TEST(StopMatcher, WithoutAMatchAllTextComesOut) {
  EXPECT_EQ(feed(StopMatcher({"STOP"}), {"ST", "O", ""}), (Outcome{"STO", false}));
  EXPECT_EQ(feed(StopMatcher({}), {"a", "b"}), (Outcome{"ab", false}));
}

TEST(StopMatcher, WhatEndsFirstWins) {
  EXPECT_EQ(feed(StopMatcher({"bcd", "c"}), {"abcd"}), (Outcome{"abc", true}));
  EXPECT_EQ(feed(StopMatcher({"c", "bc"}), {"ab", "cd"}), (Outcome{"abc", true}));
}

TEST(StopMatcher, RepetitiveStopsAreFoundAnywhere) {
  EXPECT_EQ(feed(StopMatcher({"aab"}), {"a", "a", "a", "a", "b", "x"}), (Outcome{"aaaab", true}));
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
    EXPECT_EQ(feed(StopMatcher(stops), pieces), feed(StopMatcher(stops), {text}))
        << text << " " << stops[0] << " " << stops[1];
  }
}

}  // namespace
}  // namespace graft::serving
