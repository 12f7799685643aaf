#include "load/arrivals.h"

#include <array>
#include <cmath>

#include "base/philox.h"

namespace graft::load {
namespace {

constexpr uint64_t kArrivalStream = 0xA221;  // prompts have the streams from kPromptStream on
constexpr uint64_t kPromptStream = uint64_t{1} << 32;

constexpr std::array kWords = {
    "the",    "time",   "house",   "water",  "light",    "people", "small",  "world",  "night",  "work",    "day",
    "year",   "hand",   "place",   "case",   "week",     "point",  "group",  "part",   "child",  "eye",     "life",
    "story",  "right",  "book",    "word",   "side",     "kind",   "head",   "home",   "friend", "father",  "power",
    "hour",   "game",   "line",    "end",    "law",      "car",    "city",   "name",   "team",   "minute",  "idea",
    "body",   "back",   "face",    "level",  "office",   "door",   "health", "art",    "war",    "history", "party",
    "result", "change", "morning", "reason", "research", "girl",   "guy",    "moment", "air"};

}  // namespace

std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed) {
  PhiloxStream random(seed, kArrivalStream);
  std::vector<double> due;
  double at = 0;
  for (int64_t i = 0; i < count; ++i) {
    due.push_back(at);
    at += -std::log1p(-random.next_double()) / rate;
  }
  return due;
}

std::string made_up_prompt(int64_t tokens, uint64_t seed, uint64_t number) {
  PhiloxStream random(seed, kPromptStream + number);
  std::string text;
  for (int64_t i = 0; i < tokens; ++i) {
    if (i > 0) text += ' ';
    text += kWords[random.below(kWords.size())];
  }
  return text;
}

}  // namespace graft::load
