#include "base/strings.h"
#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_operations.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

Value escape_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  if (input.as_text() != nullptr && input.as_text()->safe()) return input;
  MarkedText text = html_escaped(to_text(input));
  text.set_safe();
  return evaluator.text(std::move(text));
}

Value forceescape_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  MarkedText text = html_escaped(to_text(input));
  text.set_safe();
  return evaluator.text(std::move(text));
}

MarkedText url_quoted(const MarkedText& text, bool in_query) {
  return text.map_characters([&](char32_t c, std::string& out) {
    static constexpr std::string_view kDigits = "0123456789ABCDEF";
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !in_query)) {
      out += static_cast<char>(c);
    } else if (c == ' ' && in_query) {
      out += '+';
    } else {
      std::string bytes;
      append_utf8(bytes, c);
      for (const char byte : bytes) {
        out += '%';
        out += kDigits[static_cast<unsigned char>(byte) >> 4];
        out += kDigits[static_cast<unsigned char>(byte) & 0xF];
      }
    }
  });
}

// Text by itself, pairs as a query.
Value urlencode_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  const bool pairs = input.as_dict() != nullptr || input.as_list() != nullptr;
  if (!pairs) return evaluator.text(url_quoted(to_text(input), false));
  MarkedText query;
  const auto add = [&](const Value& key, const Value& value) {
    if (!query.empty()) query.append("&");
    query.append(url_quoted(to_text(key), true));
    query.append("=");
    query.append(url_quoted(to_text(value), true));
    evaluator.budget.step();
  };
  if (const Dict* dict = input.as_dict()) {
    for (const auto& [key, value] : dict->items) add(key, value);
  } else {
    for (const Value& item : evaluator.items_of(input)) {
      const std::vector<Value> pair = evaluator.items_of(item);
      if (pair.size() != 2) fail("urlencode(): expected pairs");
      add(pair[0], pair[1]);
    }
  }
  return evaluator.text(std::move(query));
}

Value xmlattr_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"autospace"});
  const Dict* dict = input.as_dict();
  if (dict == nullptr) fail("xmlattr(): expected a mapping, found " + quoted(input.type_name()));
  MarkedText result;
  for (const auto& [key, value] : dict->items) {
    if (value.is_none() || value.is_undefined()) continue;
    const MarkedText* name = key.as_text();
    if (name == nullptr) fail("xmlattr(): a key is no string");
    if (name->bytes().find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      fail("Invalid character in attribute name: '" + printable(name->bytes(), 60) + "'");
    }
    if (!result.empty()) result.append(" ");
    result.append(html_escaped(*name));
    result.append("=\"");
    const bool safe = value.as_text() != nullptr && value.as_text()->safe();
    result.append(safe ? *value.as_text() : html_escaped(to_text(value)));
    result.append("\"");
    evaluator.budget.step();
  }
  if (result.empty() || !arguments.flag(0, "autospace", true)) return evaluator.text(std::move(result));
  MarkedText spaced(" ");
  spaced.append(result);
  return evaluator.text(std::move(spaced));
}

// No chat template makes links of a text.
Value refused_filter(Evaluator& /*evaluator*/, const Value& /*input*/, CallArguments& arguments) {
  fail("filter '" + arguments.callee + "' is refused: it is for web pages");
}

}  // namespace

const FilterTable& web_filters() {
  static const FilterTable table = {
      {"e", escape_filter},
      {"escape", escape_filter},
      {"forceescape", forceescape_filter},
      {"urlencode", urlencode_filter},
      {"xmlattr", xmlattr_filter},
      {"striptags", striptags_filter},
      {"urlize", refused_filter},
      {"wordwrap", wordwrap_filter},
  };
  return table;
}

}  // namespace graft::text::jinja
