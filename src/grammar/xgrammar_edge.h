#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/result.h"
#include "grammar/work_budget.h"

namespace graft::grammar {

// XGrammar's messages are meant for its own developers: the first line, without the place in its source.
std::string first_line(const std::string& message);

// Runs `work`, which calls XGrammar and may throw, and makes an Error of what it throws.
template <class Work>
auto guarded(const std::string& what, Work&& work) -> Result<decltype(work())> {
  try {
    return std::forward<Work>(work)();
  } catch (const BudgetExceeded&) {
    return invalid(what + " takes too long: simplify it");
  } catch (const std::bad_alloc&) {
    return invalid(what + " needs too much memory: simplify it");
  } catch (const std::exception& error) {
    return invalid(what + ": " + first_line(error.what()));
  } catch (...) {
    return invalid(what + " cannot be used");
  }
}

}  // namespace graft::grammar
