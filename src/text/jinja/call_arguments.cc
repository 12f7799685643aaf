#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"

namespace graft::text::jinja {

const Value* CallArguments::get(size_t place, std::string_view name) const {
  const auto named = std::find_if(keywords.begin(), keywords.end(), [&](const auto& it) { return it.first == name; });
  if (place < positional.size()) {
    if (named != keywords.end()) fail(callee + "() got multiple values for argument " + quoted(name));
    return &positional[place];
  }
  return named != keywords.end() ? &named->second : nullptr;
}

void CallArguments::accept(std::initializer_list<std::string_view> names) const {
  if (positional.size() > names.size()) {
    fail(callee + "() takes at most " + std::to_string(names.size()) + " argument(s), " +
         std::to_string(positional.size()) + " given");
  }
  for (const auto& [name, value] : keywords) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      fail(callee + "() got an unexpected keyword argument " + quoted(name));
    }
  }
}

const Value& CallArguments::required(size_t place, std::string_view name) const {
  const Value* value = get(place, name);
  if (value == nullptr) fail(callee + "() is missing the argument " + quoted(name));
  return *value;
}

bool CallArguments::flag(size_t place, std::string_view name, bool fallback) const {
  const Value* value = get(place, name);
  return value != nullptr ? value->truthy() : fallback;
}

int64_t CallArguments::integer(size_t place, std::string_view name, int64_t fallback) const {
  const Value* value = get(place, name);
  if (value == nullptr) return fallback;
  if (!value->integer().has_value()) fail(callee + "(): " + std::string(name) + " must be an integer");
  return *value->integer();
}

Value CallArguments::keyword_text(const std::string& name) const {
  const auto spread = std::find_if(spread_keys.begin(), spread_keys.end(),
                                   [&](const Value& key) { return key.as_text()->bytes() == name; });
  return spread != spread_keys.end() ? *spread : Value::text(name);
}

}  // namespace graft::text::jinja
