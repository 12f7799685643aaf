#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace graft::training {

// The dynamic tree code of Dettmers et al. 2022: 256 values in [-1, 1] (signed) or [0, 1] (unsigned). The value of a
// code is a power of ten from 1e-6 to 1 times the middle of one of 2^i (unsigned: 2^(i+1)) equal parts of [0.1, 1]:
// large values have many steps, small ones still have some.
class DynamicCode {
 public:
  static const DynamicCode& of_signed();
  static const DynamicCode& of_unsigned();

  [[nodiscard]] const std::array<float, 256>& values() const { return values_; }  // ascending

  // Codes of up to 256 values, each the nearest value times the largest magnitude, which is returned. A positive value
  // of an unsigned code never becomes 0: a second moment of 0 would make the next step as large as eps lets it.
  float encode(std::span<const float> from, uint8_t* codes) const;
  void decode(std::span<const uint8_t> codes, float scale, float* to) const;

 private:
  explicit DynamicCode(bool is_signed);
  [[nodiscard]] uint8_t nearest(float x) const;
  [[nodiscard]] uint8_t search(float x) const;  // the same by bisection

  bool is_signed_;
  std::array<float, 256> values_{};
  std::array<float, 256> middles_{};  // between neighbours; the last is infinity
  std::vector<uint8_t> first_;        // by the upper half of a float: a code not above its nearest, hardly below it
};

}  // namespace graft::training
