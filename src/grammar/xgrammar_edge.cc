#include "grammar/xgrammar_edge.h"

#include <stdexcept>

#include "base/strings.h"

// XGrammar's log, see XGRAMMAR_LOG_CUSTOMIZE in cmake/FindXGrammar.cmake. Its fatal errors are exceptions. Its
// warnings, which are about what the caller's schema says, are not for this program's log: schema.h refuses beforehand
// what XGrammar would warn about.
namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

void LogFatalImpl(const std::string& /*file*/, int /*line*/, const std::string& message) {
  throw std::runtime_error(message);
}

void LogMessageImpl(const std::string& /*file*/, int /*line*/, int /*level*/, const std::string& /*message*/) {}

}  // namespace xgrammar

namespace graft::grammar {

std::string first_line(const std::string& message) { return printable(message.substr(0, message.find('\n')), 200); }

}  // namespace graft::grammar
