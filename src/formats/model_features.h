#pragma once

#include <string>
#include <vector>

#include "formats/model_spec.h"

namespace graft::formats {

// Everything in which a model differs from the plain Llama shape, in words, biases aside: what a reader or writer of
// that shape alone would silently get wrong. Empty: nothing.
std::vector<std::string> features_beyond_llama(const ModelSpec& spec);

}  // namespace graft::formats
