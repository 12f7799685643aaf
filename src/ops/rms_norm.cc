#include "ops/rms_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

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

constexpr int64_t kRowsOfSum = 64;  // rows that are added up before the sums are

// What the backward pass tells beside dx.
struct NormCall : torch::CustomClassHolder {
  std::function<void(const at::Tensor&)> on_gradient;  // of the weight; may be empty
};

// out [n] += sum over rows of dy * x * rstd
template <class T>
void add_rows(const T* dy, const float* x, const float* rstd, int64_t rows, int64_t n, float* __restrict__ out) {
  for (int64_t row = 0; row < rows; ++row, dy += n, x += n) {
    const float scale = rstd[row];
    for (int64_t i = 0; i < n; ++i) out[i] += cpu::to_float(dy[i]) * (x[i] * scale);
  }
}

template <class T>
at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd) {
  const int64_t rows = x.size(0);
  const int64_t n = x.size(1);
  const int64_t chunks = (rows + kRowsOfSum - 1) / kRowsOfSum;
  const at::Tensor sums = at::zeros({chunks, n}, x.options());
  cpu::parallel_for(chunks, [&](int64_t chunk) {
    const int64_t row = chunk * kRowsOfSum;
    add_rows(data<T>(dy) + row * n, x.const_data_ptr<float>() + row * n, rstd.const_data_ptr<float>() + row,
             std::min(kRowsOfSum, rows - row), n, sums.mutable_data_ptr<float>() + chunk * n);
  });
  at::Tensor total = at::zeros({n}, x.options());
  auto* to = total.mutable_data_ptr<float>();
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const float* from = sums.const_data_ptr<float>() + chunk * n;
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
  }
  return total;
}

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps, at::ScalarType out, const c10::intrusive_ptr<NormCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor rstd = at::empty({x.size(0)}, x.options());
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->save_for_backward({x, weight, rstd});
    return run_forward(x, weight, eps, out, rstd);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<NormCall>(ctx->saved_data["call"].toCapsule());
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
    if (call->on_gradient) {
      call->on_gradient(dy.scalar_type() == at::kBFloat16 ? weight_gradient<cpu::bf16>(dy, saved[0], saved[2])
                                                          : weight_gradient<float>(dy, saved[0], saved[2]));
    }
    return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

void check_input(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() == 2 && x.is_contiguous() && x.scalar_type() == at::kFloat && weight.numel() == x.size(1),
              "[rms_norm] x must be contiguous float32 [tokens, hidden] and weight [hidden]");
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out) {
  if (x.requires_grad()) return trainable_rms_norm(x, weight, eps, out, {});
  check_input(x, weight);
  return run_forward(x, weight, eps, out, {});
}

at::Tensor trainable_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out,
                              std::function<void(const at::Tensor& gradient)> on_gradient) {
  check_input(x, weight);
  auto call = c10::make_intrusive<NormCall>();
  call->on_gradient = std::move(on_gradient);
  return RmsNormFunction::apply(x, weight, eps, out, call);
}

at::Tensor rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out) {
  return (x * at::rsqrt((x * x).mean(-1, true) + eps) * weight).to(out);
}

}  // namespace graft::ops
