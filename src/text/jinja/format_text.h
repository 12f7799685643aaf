#pragma once

#include "text/jinja/evaluator.h"

namespace graft::text::jinja {

// Python's two ways to format text. What is put in keeps its marks.

// "%s is %d" % values: a tuple fills the places in order, a mapping those with names, anything else the only one.
MarkedText percent_format(Evaluator& evaluator, const MarkedText& format, const Value& values);

// "{} {0.name!r:>10}".format(...); attributes and items are looked up as templates do.
MarkedText brace_format(Evaluator& evaluator, const MarkedText& format, const CallArguments& arguments);

}  // namespace graft::text::jinja
