#pragma once

#include "base/result.h"
#include "formats/model_spec.h"

namespace graft::model {

// Whether the decoder can run what the spec says. ModelSpec describes more than that: an error lists everything that is
// missing, so that no setting is ever ignored. Preparing weights and making a decoder both ask.
Status supported_by_decoder(const formats::ModelSpec& spec);

}  // namespace graft::model
