#include "training/optimizers/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace graft::training {
namespace {

constexpr double kA = 3.4445;
constexpr double kB = -4.7750;
constexpr double kC = 2.0315;

using Square = std::vector<double>;  // [n, n]

Square product(const Square& x, const Square& y, size_t n) {
  Square out(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < n; ++k) {
      const double factor = x[i * n + k];
      for (size_t j = 0; j < n; ++j) out[i * n + j] += factor * y[k * n + j];
    }
  }
  return out;
}

// Inner products of the lines of the shorter side, of the matrix divided by `norm`.
Square gram(std::span<const float> matrix, size_t rows, size_t columns, double norm) {
  const size_t n = std::min(rows, columns);
  Square out(n * n);
  const double scale = 1.0 / (norm * norm);
  if (rows <= columns) {
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (size_t c = 0; c < columns; ++c) {
          sum += static_cast<double>(matrix[i * columns + c]) * matrix[j * columns + c];
        }
        out[i * n + j] = out[j * n + i] = sum * scale;
      }
    }
    return out;
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < columns; ++i) {
      const double factor = static_cast<double>(matrix[r * columns + i]) * scale;
      for (size_t j = 0; j < columns; ++j) out[i * n + j] += factor * static_cast<double>(matrix[r * columns + j]);
    }
  }
  return out;
}

// The product of all steps' polynomials: what the matrix has to be multiplied with.
Square polynomial(Square g, size_t n, int64_t steps) {
  Square whole(n * n);
  for (size_t i = 0; i < n; ++i) whole[i * n + i] = 1;
  for (int64_t step = 0; step < steps; ++step) {
    Square factor = product(g, g, n);
    for (size_t i = 0; i < n * n; ++i) factor[i] = kB * g[i] + kC * factor[i];
    for (size_t i = 0; i < n; ++i) factor[i * n + i] += kA;
    whole = product(factor, whole, n);
    if (step + 1 < steps) g = product(product(factor, g, n), factor, n);
  }
  return whole;
}

}  // namespace

void orthogonalise(std::span<float> matrix, int64_t rows, int64_t columns, int64_t steps, double eps) {
  const auto m = static_cast<size_t>(rows);
  const auto n = static_cast<size_t>(columns);
  double squares = 0;
  for (const float x : matrix) squares += static_cast<double>(x) * x;
  const double norm = std::max(std::sqrt(squares), eps);
  const size_t side = std::min(m, n);
  const Square factor = polynomial(gram(matrix, m, n, norm), side, steps);
  std::vector<double> line(std::max(m, n));
  const std::vector<float> before(matrix.begin(), matrix.end());
  for (size_t r = 0; r < m; ++r) {
    std::fill(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(n), 0.0);
    for (size_t k = 0; k < side; ++k) {
      // From the left: row r of factor times the rows; from the right: row r times factor.
      const double weight = m <= n ? factor[r * side + k] : static_cast<double>(before[r * n + k]);
      for (size_t c = 0; c < n; ++c) {
        line[c] += weight * (m <= n ? static_cast<double>(before[k * n + c]) : factor[k * side + c]);
      }
    }
    for (size_t c = 0; c < n; ++c) matrix[r * n + c] = static_cast<float>(line[c] / norm);
  }
}

}  // namespace graft::training
