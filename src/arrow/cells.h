#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/result.h"

namespace graft::arrow_library {

// One cell as JSON, by the table in formats/dataset.h. `room`: bytes of text that the row may still hold.
Result<nlohmann::ordered_json> read_cell(const ::arrow::Array& column, int64_t row, size_t& room);

}  // namespace graft::arrow_library
