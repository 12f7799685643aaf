#include "base/json.h"

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/strings.h"

namespace graft {
namespace {

// Thrown inside the parser's callback, caught below: the only way to stop it early with a reason.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The library drops earlier values of a repeated key silently, and has no limit on depth.
template <class Json>
class Guard {
 public:
  explicit Guard(size_t depth) : depth_(depth) {}

  bool operator()(int depth, typename Json::parse_event_t event, Json& parsed) {
    using Event = typename Json::parse_event_t;
    if (static_cast<size_t>(depth) > depth_) throw Refused("nested deeper than " + std::to_string(depth_) + " levels");
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end && !keys_.empty()) keys_.pop_back();
    if (event == Event::key) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) throw Refused("duplicate key '" + printable(key) + "'");
    }
    return true;
  }

 private:
  size_t depth_;
  std::vector<std::set<std::string>> keys_;
};

// "[json.exception.parse_error.101] parse error at line 1, column 2: ..." without the library's tag.
std::string without_tag(std::string message) {
  const size_t end = message.find("] ");
  if (!message.empty() && message[0] == '[' && end != std::string::npos) message.erase(0, end + 2);
  return printable(message, 240);
}

template <class Json>
Result<Json> parse(std::string_view text, const JsonLimits& limits) {
  try {
    auto guard = std::make_shared<Guard<Json>>(limits.depth);
    return Json::parse(text.begin(), text.end(), [guard](int depth, typename Json::parse_event_t event, Json& parsed) {
      return (*guard)(depth, event, parsed);
    });
  } catch (const Refused& refused) {
    return invalid(std::string("not valid JSON: ") + refused.what());
  } catch (const nlohmann::json::exception& error) {
    return invalid("not valid JSON: " + without_tag(error.what()));
  }
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits) {
  return parse<nlohmann::json>(text, limits);
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const JsonLimits& limits) {
  return parse<nlohmann::ordered_json>(text, limits);
}

}  // namespace graft
