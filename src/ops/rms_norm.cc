#include "ops/rms_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rsqrt.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/cpu/parallel.h"
#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

at::Tensor run_forward(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out,
                       const at::Tensor& rstd) {
  at::Tensor y = at::empty(x.sizes(), x.options().dtype(out));
  const int64_t n = x.size(1);
  const auto* from = x.const_data_ptr<float>();
  const auto* w = weight.const_data_ptr<float>();
  float* scales = rstd.defined() ? rstd.mutable_data_ptr<float>() : nullptr;
  const auto& kernels = typed_kernels(out);
  for_rows(x.size(0), [&](int64_t row) {
    const float scale = kernels.rms_norm(from + row * n, w, static_cast<float>(eps), n, mutable_element(y, row * n));
    if (scales != nullptr) scales[row] = scale;
  });
  return y;
}

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps, at::ScalarType out) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor rstd = at::empty({x.size(0)}, x.options());
    ctx->save_for_backward({x, weight, rstd});
    return run_forward(x, weight, eps, out, rstd);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor dx = at::empty_like(saved[0]);
    const int64_t n = dx.size(1);
    const auto* x = saved[0].const_data_ptr<float>();
    const auto* w = saved[1].const_data_ptr<float>();
    const auto* rstd = saved[2].const_data_ptr<float>();
    auto* to = dx.mutable_data_ptr<float>();
    const auto& kernels = typed_kernels(dy.scalar_type());
    for_rows(dx.size(0), [&](int64_t row) {
      kernels.rms_norm_backward(element(dy, row * n), x + row * n, w, rstd[row], n, nullptr, to + row * n);
    });
    return {dx, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out) {
  TORCH_CHECK(x.dim() == 2 && x.is_contiguous() && x.scalar_type() == at::kFloat && weight.numel() == x.size(1),
              "[rms_norm] x must be contiguous float32 [tokens, hidden] and weight [hidden]");
  if (x.requires_grad()) return RmsNormFunction::apply(x, weight, eps, out);
  return run_forward(x, weight, eps, out, {});
}

at::Tensor rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out) {
  return (x * at::rsqrt((x * x).mean(-1, true) + eps) * weight).to(out);
}

}  // namespace graft::ops
