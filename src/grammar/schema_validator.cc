#include "grammar/schema_validator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "grammar/schema_references.h"

namespace graft::grammar {
namespace {

constexpr int kMostSteps = 1'000'000;
constexpr int kDeepest = 256;

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

bool is_integer(const SchemaJson& value) {
  if (value.is_number_integer()) return true;
  return value.is_number_float() && std::isfinite(value.get<double>()) &&
         std::floor(value.get<double>()) == value.get<double>();
}

bool has_type(const SchemaJson& value, const SchemaJson& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  return type == "integer" && is_integer(value);
}

bool is_multiple(const SchemaJson& value, const SchemaJson& of) {
  if (of.get<double>() <= 0) return true;
  if (value.is_number_integer() && of.is_number_integer()) {
    if (value.is_number_unsigned()) return value.get<uint64_t>() % of.get<uint64_t>() == 0;
    return value.get<int64_t>() % of.get<int64_t>() == 0;
  }
  const double quotient = value.get<double>() / of.get<double>();
  return std::isfinite(quotient) && std::floor(quotient) == quotient;
}

using Json = SchemaJson;

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// A keyword of another type than it should have says nothing here: SchemaRewriter refuses it.
const Json* find_typed(const Json& object, const char* key, bool (*is)(const Json&)) {
  const Json* value = find(object, key);
  return value != nullptr && is(*value) ? value : nullptr;
}
const Json* find_number(const Json& object, const char* key) {
  return find_typed(object, key, [](const Json& value) { return value.is_number(); });
}
const Json* find_array(const Json& object, const char* key) {
  return find_typed(object, key, [](const Json& value) { return value.is_array(); });
}
const Json* find_object(const Json& object, const char* key) {
  return find_typed(object, key, [](const Json& value) { return value.is_object(); });
}
const Json* find_string(const Json& object, const char* key) {
  return find_typed(object, key, [](const Json& value) { return value.is_string(); });
}

}  // namespace

bool equal_values(const SchemaJson& a, const SchemaJson& b) {
  if (a.is_object() && b.is_object()) {
    return a.size() == b.size() && std::ranges::all_of(a.items(), [&](const auto& member) {
             const auto found = b.find(member.key());
             return found != b.end() && equal_values(member.value(), *found);
           });
  }
  if (a.is_array() && b.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), equal_values);
  }
  return a == b;
}

// One validation: bounds its work, remembers where it failed.
class SchemaValidator::Run {
 public:
  explicit Run(const SchemaValidator& validator) : validator_(validator) {}

  bool accepts(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    if (exhausted_) return false;
    if (++steps_ > kMostSteps || depth_ > kDeepest) {
      exhausted_ = true;
      return false;
    }
    if (schema == false) return refuse(place, "false");
    if (!schema.is_object()) return true;
    ++depth_;
    const bool ok = keywords(value, schema, place);
    --depth_;
    return ok;
  }

  [[nodiscard]] bool exhausted() const { return exhausted_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  bool refuse(const std::string& place, const std::string& keyword) {
    problem_ = "at " + (place.empty() ? "the top" : printable(place)) + ": `" + keyword + "`";
    return false;
  }

  bool keywords(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    return references(value, schema, place) && values(value, schema, place) && choices(value, schema, place) &&
           (!value.is_string() || string(value, schema, place)) &&
           (!value.is_number() || number(value, schema, place)) && (!value.is_array() || array(value, schema, place)) &&
           (!value.is_object() || object(value, schema, place));
  }

  bool references(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const SchemaJson* reference = find_string(schema, "$ref");
    if (reference == nullptr) return true;
    const SchemaJson* target = find_reference(*validator_.root_, reference->get_ref<const std::string&>());
    return target == nullptr ? refuse(place, "$ref") : accepts(value, *target, place);
  }

  bool values(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    if (const SchemaJson* type = find(schema, "type")) {
      const bool fits = type->is_array()
                            ? std::ranges::any_of(*type, [&](const SchemaJson& one) { return has_type(value, one); })
                            : has_type(value, *type);
      if (!fits) return refuse(place, "type");
    }
    const auto same = [&](const SchemaJson& other) { return equal_values(value, other); };
    const SchemaJson* constant = find(schema, "const");
    if (constant != nullptr && !same(*constant)) return refuse(place, "const");
    const SchemaJson* options = find_array(schema, "enum");
    if (options != nullptr && !std::ranges::any_of(*options, same)) return refuse(place, "enum");
    return true;
  }

  bool choices(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    if (const SchemaJson* all = find_array(schema, "allOf")) {
      for (const SchemaJson& part : *all) {
        if (!accepts(value, part, place)) return false;
      }
    }
    const auto count = [&](const SchemaJson& options) {
      return std::ranges::count_if(options, [&](const SchemaJson& option) { return accepts(value, option, place); });
    };
    const SchemaJson* any = find_array(schema, "anyOf");
    if (any != nullptr && count(*any) == 0) return refuse(place, "anyOf");
    const SchemaJson* one = find_array(schema, "oneOf");
    return one == nullptr || count(*one) == 1 || refuse(place, "oneOf");
  }

  bool matches(const std::string& pattern, const std::string& text) {
    const auto found = validator_.patterns_.find(pattern);
    if (found == validator_.patterns_.end() || found->second == nullptr) return true;  // the grammar has refused it
    return found->second->search(text) != SearchPattern::Outcome::kMissing;
  }

  bool string(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const auto& text = value.get_ref<const std::string&>();
    const auto length = static_cast<double>(characters(text));
    const SchemaJson* least = find_number(schema, "minLength");
    if (least != nullptr && length < least->get<double>()) return refuse(place, "minLength");
    const SchemaJson* most = find_number(schema, "maxLength");
    if (most != nullptr && length > most->get<double>()) return refuse(place, "maxLength");
    const SchemaJson* pattern = find_string(schema, "pattern");
    return pattern == nullptr || matches(pattern->get<std::string>(), text) || refuse(place, "pattern");
  }

  bool number(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const SchemaJson* least = find_number(schema, "minimum");
    const SchemaJson* most = find_number(schema, "maximum");
    const SchemaJson* above = find(schema, "exclusiveMinimum");
    const SchemaJson* below = find(schema, "exclusiveMaximum");
    if (least != nullptr && value < *least) return refuse(place, "minimum");
    if (most != nullptr && value > *most) return refuse(place, "maximum");
    if (above != nullptr && *above == true) above = least;  // draft 4
    if (below != nullptr && *below == true) below = most;
    if (above != nullptr && above->is_number() && value <= *above) return refuse(place, "exclusiveMinimum");
    if (below != nullptr && below->is_number() && value >= *below) return refuse(place, "exclusiveMaximum");
    const SchemaJson* factor = find_number(schema, "multipleOf");
    return factor == nullptr || is_multiple(value, *factor) || refuse(place, "multipleOf");
  }

  bool array(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const auto size = static_cast<double>(value.size());
    const SchemaJson* least = find_number(schema, "minItems");
    if (least != nullptr && size < least->get<double>()) return refuse(place, "minItems");
    const SchemaJson* most = find_number(schema, "maxItems");
    if (most != nullptr && size > most->get<double>()) return refuse(place, "maxItems");
    const SchemaJson* first = find_array(schema, "prefixItems");
    const SchemaJson* rest = find(schema, "items");
    if (rest != nullptr && rest->is_array()) first = std::exchange(rest, find(schema, "additionalItems"));
    for (size_t i = 0; i < value.size(); ++i) {
      const SchemaJson* item = first != nullptr && i < first->size() ? &(*first)[i] : rest;
      if (item != nullptr && !accepts(value[i], *item, place + "/" + std::to_string(i))) return false;
    }
    const SchemaJson* unique = find(schema, "uniqueItems");
    return unique == nullptr || *unique == false || distinct(value) || refuse(place, "uniqueItems");
  }

  bool distinct(const SchemaJson& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (++steps_ > kMostSteps) exhausted_ = true;
        if (exhausted_ || equal_values(items[i], items[j])) return false;
      }
    }
    return true;
  }

  bool object(const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const auto size = static_cast<double>(value.size());
    const SchemaJson* least = find_number(schema, "minProperties");
    if (least != nullptr && size < least->get<double>()) return refuse(place, "minProperties");
    const SchemaJson* most = find_number(schema, "maxProperties");
    if (most != nullptr && size > most->get<double>()) return refuse(place, "maxProperties");
    if (const SchemaJson* required = find_array(schema, "required")) {
      for (const SchemaJson& name : *required) {
        if (name.is_string() && !value.contains(name.get<std::string>())) return refuse(place, "required");
      }
    }
    for (const auto& [name, member] : value.items()) {
      if (!property(name, member, schema, place + "/" + name)) return false;
    }
    return true;
  }

  bool property(const std::string& name, const SchemaJson& value, const SchemaJson& schema, const std::string& place) {
    const SchemaJson* names = find(schema, "propertyNames");
    if (names != nullptr && !accepts(name, *names, place)) return false;
    bool known = false;
    const SchemaJson* properties = find_object(schema, "properties");
    if (properties != nullptr && properties->contains(name)) {
      known = true;
      if (!accepts(value, (*properties)[name], place)) return false;
    }
    if (const SchemaJson* patterns = find_object(schema, "patternProperties")) {
      for (const auto& [pattern, inner] : patterns->items()) {
        if (!matches(pattern, name)) continue;
        known = true;
        if (!accepts(value, inner, place)) return false;
      }
    }
    const SchemaJson* beyond = find(schema, "additionalProperties");
    if (known || beyond == nullptr) return true;
    return accepts(value, *beyond, place) || refuse(place, "additionalProperties");
  }

  const SchemaValidator& validator_;
  int steps_ = 0;
  int depth_ = 0;
  bool exhausted_ = false;
  std::string problem_;
};

SchemaValidator::SchemaValidator(SchemaJson root) : root_(std::make_shared<const SchemaJson>(std::move(root))) {
  collect_patterns(*root_);
}

void SchemaValidator::collect_patterns(const SchemaJson& schema) {
  if (schema.is_object()) {
    for (const auto& [key, value] : schema.items()) {
      if (key == "pattern" && value.is_string()) {
        patterns_.try_emplace(value.get<std::string>(), SearchPattern::compile(value.get<std::string>()));
      } else if (key == "patternProperties" && value.is_object()) {
        for (const auto& [pattern, unused] : value.items()) {
          patterns_.try_emplace(pattern, SearchPattern::compile(pattern));
        }
      }
      collect_patterns(value);
    }
  } else if (schema.is_array()) {
    for (const SchemaJson& item : schema) collect_patterns(item);
  }
}

Status SchemaValidator::validate_text(std::string_view text) const {
  const SchemaJson value = SchemaJson::parse(text, nullptr, false);
  if (value.is_discarded()) return invalid("the output is not valid JSON");
  return validate(value, *root_, "");
}

Status SchemaValidator::validate(const SchemaJson& value, const SchemaJson& schema, const std::string& place) const {
  Run run(*this);
  if (run.accepts(value, schema, place)) return {};
  if (run.exhausted()) return invalid("checking the output against the schema takes too long");
  return invalid("the output does not fit the schema: " + run.problem());
}

}  // namespace graft::grammar
