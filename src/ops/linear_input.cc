#include "ops/linear_input.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/dtype.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"
#include "ops/silu_mul.h"

namespace graft::ops {

namespace {

class PlainInput : public LinearInput {
 public:
  [[nodiscard]] at::Tensor value(const at::Tensor& source) const override { return source; }
  [[nodiscard]] InputBackward backward(const at::Tensor& source, const at::Tensor& dx,
                                       const at::Tensor& /*add*/) const override {
    return {source, dx};
  }
  [[nodiscard]] bool is_identity() const override { return true; }
};

class NormedInput : public LinearInput {
 public:
  NormedInput(at::Tensor norm, double eps, at::ScalarType dtype) : norm_(std::move(norm)), eps_(eps), dtype_(dtype) {}

  [[nodiscard]] at::Tensor value(const at::Tensor& source) const override {
    return rms_norm(source.detach(), norm_, eps_, dtype_);
  }

  [[nodiscard]] InputBackward backward(const at::Tensor& source, const at::Tensor& dx,
                                       const at::Tensor& add) const override {
    InputBackward out = {at::empty(source.sizes(), source.options().dtype(dtype_)), at::empty_like(source)};
    const int64_t n = source.size(1);
    const auto* from = source.const_data_ptr<float>();
    const auto* w = norm_.const_data_ptr<float>();
    auto* gradient = out.gradient.mutable_data_ptr<float>();
    const float* others = add.defined() ? add.const_data_ptr<float>() : nullptr;
    const auto& kernels = typed_kernels(dtype_);
    for_rows(source.size(0), [&](int64_t row) {
      const float* x = from + row * n;
      const float rstd = kernels.rms_norm(x, w, static_cast<float>(eps_), n, mutable_element(out.x, row * n));
      kernels.rms_norm_backward(element(dx, row * n), x, w, rstd, n, others == nullptr ? nullptr : others + row * n,
                                gradient + row * n);
    });
    return out;
  }
  [[nodiscard]] bool hands_on() const override { return true; }

 private:
  at::Tensor norm_;
  double eps_;
  at::ScalarType dtype_;
};

class SiluInput : public LinearInput {
 public:
  [[nodiscard]] at::Tensor value(const at::Tensor& source) const override { return silu_mul(source.detach()); }

  [[nodiscard]] InputBackward backward(const at::Tensor& source, const at::Tensor& dx,
                                       const at::Tensor& /*add*/) const override {
    const int64_t n = source.size(1) / 2;
    InputBackward out = {at::empty_like(dx), at::empty_like(source)};
    const auto& kernels = typed_kernels(source.scalar_type());
    for_rows(source.size(0), [&](int64_t row) {
      const int64_t gate = row * 2 * n;
      const int64_t up = gate + n;
      kernels.silu_mul_backward(element(dx, row * n), element(source, gate), element(source, up), n,
                                mutable_element(out.gradient, gate), mutable_element(out.gradient, up),
                                mutable_element(out.x, row * n));
    });
    return out;
  }
};

}  // namespace

c10::intrusive_ptr<LinearInput> plain_input() { return c10::make_intrusive<PlainInput>(); }
c10::intrusive_ptr<LinearInput> normed_input(const at::Tensor& norm, double eps, at::ScalarType dtype) {
  return c10::make_intrusive<NormedInput>(norm, eps, dtype);
}
c10::intrusive_ptr<LinearInput> silu_input() { return c10::make_intrusive<SiluInput>(); }

}  // namespace graft::ops
