#include <ctime>

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
  return Value::list(std::move(items));
}

Value dict_function(Evaluator& /*evaluator*/, CallArguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) fail("dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Dict* dict = arguments.positional[0].as_dict();
    if (dict == nullptr) fail("dict() of anything but a mapping is not supported");
    items = dict->items;
  }
  for (const auto& [name, value] : arguments.keywords) {
    bool known = false;
    for (auto& [key, held] : items) {
      if (key.as_text() == nullptr || key.as_text()->bytes() != name) continue;
      held = value;
      known = true;
    }
    if (!known) items.emplace_back(Value::text(name), value);
  }
  return Value::dict(std::move(items));
}

Value namespace_function(Evaluator& evaluator, CallArguments& arguments) {
  auto made = evaluator.make_namespace();
  if (arguments.positional.size() > 1) fail("namespace expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Dict* dict = arguments.positional[0].as_dict();
    if (dict == nullptr) fail("namespace() of anything but a mapping is not supported");
    for (const auto& [key, value] : dict->items) made->variables.emplace_back(to_text(key).bytes(), value);
  }
  for (const auto& [name, value] : arguments.keywords) {
    std::erase_if(made->variables, [&](const auto& held) { return held.first == name; });
    made->variables.emplace_back(name, value);
  }
  return Value(std::move(made));
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
  return evaluator.text(MarkedText(std::move(text)));
}

}  // namespace

std::vector<std::pair<std::string, Value>> global_functions(Evaluator& evaluator) {
  using Function = Value (*)(Evaluator&, CallArguments&);
  static constexpr std::pair<const char*, Function> kFunctions[] = {{"range", range_function},
                                                                    {"dict", dict_function},
                                                                    {"namespace", namespace_function},
                                                                    {"raise_exception", raise_exception},
                                                                    {"strftime_now", strftime_now}};
  std::vector<std::pair<std::string, Value>> functions;
  for (const auto& [name, function] : kFunctions) {
    const auto call = [&evaluator, function = function](CallArguments& arguments) {
      return function(evaluator, arguments);
    };
    functions.emplace_back(name, Value(std::make_shared<const Callable>(Callable{name, call})));
  }
  return functions;
}

}  // namespace graft::text::jinja
