#include <algorithm>
#include <ctime>
#include <utility>

#include "base/strings.h"
#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"

namespace graft::text::jinja {
namespace {

Value range_function(Evaluator& evaluator, CallArguments& arguments) {
  arguments.accept({"start", "stop", "step"});
  const size_t count = arguments.positional.size();
  if (count == 0 || !arguments.keywords.empty()) fail("range expected at least 1 argument, got 0");
  const int64_t start = count == 1 ? 0 : arguments.integer(0, "start", 0);
  const int64_t stop = count == 1 ? arguments.integer(0, "stop", 0) : arguments.integer(1, "stop", 0);
  const int64_t step = arguments.integer(2, "step", 1);
  if (step == 0) fail("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == kLongestRange) {
      fail("range too big: more than " + std::to_string(kLongestRange) + " items");
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  evaluator.budget.step(items.size());
  return range_of(std::move(items), {start, stop, step});
}

// What dict() and namespace() take: a mapping, or pairs.
std::vector<std::pair<Value, Value>> pairs_of(Evaluator& evaluator, const Value& value) {
  if (const Dict* dict = value.as_dict()) return dict->items;
  std::vector<std::pair<Value, Value>> pairs;
  for (const Value& item : evaluator.items_of(value)) {
    std::vector<Value> pair = evaluator.items_of(item);
    if (pair.size() != 2)
      fail("dictionary update sequence element has length " + std::to_string(pair.size()) + "; 2 is required");
    check_hashable(pair[0]);
    evaluator.budget.step(pairs.size() / 8);
    const auto known =
        std::find_if(pairs.begin(), pairs.end(), [&](const auto& it) { return equal(it.first, pair[0]); });
    if (known != pairs.end()) {
      known->second = std::move(pair[1]);
    } else {
      pairs.emplace_back(std::move(pair[0]), std::move(pair[1]));
    }
  }
  return pairs;
}

Value dict_function(Evaluator& evaluator, CallArguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) fail("dict expected at most 1 argument");
  if (!arguments.positional.empty()) items = pairs_of(evaluator, arguments.positional[0]);
  for (const auto& [name, value] : arguments.keywords) {
    bool known = false;
    for (auto& [key, held] : items) {
      if (key.as_text() == nullptr || key.as_text()->bytes() != name) continue;
      held = value;
      known = true;
    }
    if (!known) items.emplace_back(arguments.keyword_text(name), value);
  }
  return Value::dict(std::move(items));
}

Value namespace_function(Evaluator& evaluator, CallArguments& arguments) {
  auto made = evaluator.make_namespace();
  if (arguments.positional.size() > 1) fail("namespace expected at most 1 argument");
  if (!arguments.positional.empty()) {
    for (const auto& [key, value] : pairs_of(evaluator, arguments.positional[0])) {
      made->variables.emplace_back(to_text(key).bytes(), value);
    }
  }
  for (const auto& [name, value] : arguments.keywords) {
    std::erase_if(made->variables, [&](const auto& held) { return held.first == name; });
    made->variables.emplace_back(name, value);
  }
  return Value(std::move(made));
}

Value cycler_function(Evaluator& evaluator, CallArguments& arguments) {
  if (arguments.positional.empty() || !arguments.keywords.empty()) fail("at least one item has to be provided");
  auto made = evaluator.make_namespace();
  made->cycle = arguments.positional;
  return Value(std::move(made));
}

// Nothing at the first call, then the separator.
Value joiner_function(Evaluator& /*evaluator*/, CallArguments& arguments) {
  arguments.accept({"sep"});
  const Value* separator = arguments.get(0, "sep");
  const auto next = [separator = separator != nullptr ? *separator : Value::text(", "),
                     used = std::make_shared<bool>(false)](CallArguments& given) {
    given.accept({});
    return std::exchange(*used, true) ? separator : Value::text("");
  };
  return std::make_shared<const Callable>(Callable{"joiner", next, {}});
}

Value lipsum_function(Evaluator& /*evaluator*/, CallArguments& /*arguments*/) {
  fail("lipsum() is refused: the same chat must always render to the same text");
}

Value raise_exception(Evaluator& /*evaluator*/, CallArguments& arguments) {
  arguments.accept({"message"});
  throw Failure{printable(to_text(arguments.required(0, "message")).bytes(), 2000), 0, true};
}

Value strftime_now(Evaluator& evaluator, CallArguments& arguments) {
  arguments.accept({"format"});
  const MarkedText* format = arguments.required(0, "format").as_text();
  if (format == nullptr) fail("strftime_now(): format must be a string");
  if (format->bytes().find("%f") != std::string::npos) fail("strftime_now(): %f is not supported");
  if (format->size() > 256 || format->bytes().find('\0') != std::string::npos) fail("strftime_now(): format too long");
  std::tm now{};
  if (evaluator.now().has_value()) {
    now = *evaluator.now();
  } else {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &now);
  }
  char buffer[4096];
  const std::string spaced = format->bytes() + " ";  // an empty result is not told apart from an error
  const size_t size = std::strftime(buffer, sizeof buffer, spaced.c_str(), &now);
  if (size == 0) fail("strftime_now(): the result is too long");
  std::string text(buffer, size - 1);
  if (!is_valid_utf8(text)) fail("strftime_now(): the result is not valid UTF-8");
  return evaluator.text(MarkedText(std::move(text), !format->marks().empty()));
}

}  // namespace

std::vector<std::pair<std::string, Value>> global_functions(Evaluator& evaluator) {
  using Function = Value (*)(Evaluator&, CallArguments&);
  static constexpr std::pair<const char*, Function> kFunctions[] = {{"range", range_function},
                                                                    {"dict", dict_function},
                                                                    {"namespace", namespace_function},
                                                                    {"cycler", cycler_function},
                                                                    {"joiner", joiner_function},
                                                                    {"lipsum", lipsum_function},
                                                                    {"raise_exception", raise_exception},
                                                                    {"strftime_now", strftime_now}};
  std::vector<std::pair<std::string, Value>> functions;
  for (const auto& [name, function] : kFunctions) {
    const Function held = function;
    const auto call = [&evaluator, held](CallArguments& arguments) { return held(evaluator, arguments); };
    functions.emplace_back(name, Value(std::make_shared<const Callable>(Callable{name, call, {}})));
  }
  return functions;
}

}  // namespace graft::text::jinja
