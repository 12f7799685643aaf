#pragma once

#include <cstdint>
#include <span>

namespace graft::training {

// The matrix [rows, columns], row-major, in place: its nearest (semi-)orthogonal matrix, roughly, by `steps` of the
// quintic Newton-Schulz iteration of Muon: singular values end up between about 0.7 and 1.2. A matrix of zeros stays
// one.
//
// The iteration only ever multiplies by polynomials of the Gram matrix of the shorter side, so it runs on that alone,
// in double: two passes over the matrix instead of two for each step.
void orthogonalise(std::span<float> matrix, int64_t rows, int64_t columns, int64_t steps, double eps);

}  // namespace graft::training
