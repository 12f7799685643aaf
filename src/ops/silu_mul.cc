#include "ops/silu_mul.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

at::Tensor run_forward(const at::Tensor& gate_up) {
  const int64_t n = gate_up.size(1) / 2;
  at::Tensor y = at::empty({gate_up.size(0), n}, gate_up.options());
  const auto& kernels = typed_kernels(gate_up.scalar_type());
  for_rows(gate_up.size(0), [&](int64_t row) {
    kernels.silu_mul(element(gate_up, row * 2 * n), element(gate_up, row * 2 * n + n), n, mutable_element(y, row * n));
  });
  return y;
}

class SiluMulFunction : public torch::autograd::Function<SiluMulFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate_up) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({gate_up});
    return run_forward(gate_up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const at::Tensor gate_up = ctx->get_saved_variables()[0];
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor out = at::empty_like(gate_up);
    const int64_t n = dy.size(1);
    const auto& kernels = typed_kernels(gate_up.scalar_type());
    for_rows(dy.size(0), [&](int64_t row) {
      const int64_t gate = row * 2 * n;
      kernels.silu_mul_backward(element(dy, row * n), element(gate_up, gate), element(gate_up, gate + n), n,
                                mutable_element(out, gate), mutable_element(out, gate + n), nullptr);
    });
    return {out};
  }
};

}  // namespace

at::Tensor silu_mul(const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() == 2 && gate_up.size(1) % 2 == 0 && gate_up.is_contiguous(),
              "[silu_mul] gate_up must be contiguous [tokens, 2 * width]");
  return gate_up.requires_grad() ? SiluMulFunction::apply(gate_up) : run_forward(gate_up);
}

at::Tensor silu_mul_composed(const at::Tensor& gate_up) {
  const int64_t n = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, n).to(at::kFloat);
  return (at::silu(gate) * gate_up.narrow(1, n, n).to(at::kFloat)).to(gate_up.scalar_type());
}

}  // namespace graft::ops
