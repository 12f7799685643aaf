#include "ops/trainable_linear.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "ops/linear_call.h"

namespace graft::ops {

namespace {

struct TrainableCall : torch::CustomClassHolder {
  LinearCall linear;
  OnLinearGradient on_gradient;
};

class TrainableLinear : public torch::autograd::Function<TrainableLinear> {
 public:
  // `add` is the residual and `known` the result, or empty: a Function cannot take an undefined tensor.
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& add,
                            const at::Tensor& known, const c10::intrusive_ptr<TrainableCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool with_residual = add.numel() > 0;
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->saved_data["residual"] = with_residual;
    ctx->save_for_backward({x});
    if (known.numel() > 0) return known.detach();
    return call->linear.forward(x.detach(), with_residual ? add.detach() : at::Tensor(), nullptr);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<TrainableCall>(ctx->saved_data["call"].toCapsule());
    const at::Tensor x = ctx->get_saved_variables()[0];
    const LinearGradients gradients = call->linear.backward(grads[0], {});
    call->on_gradient(x, gradients.dy);
    const bool with_residual = ctx->saved_data["residual"].toBool();
    return {gradients.dx, with_residual ? grads[0] : at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor trainable_linear(const at::Tensor& x, const LinearWeight& weight, OnLinearGradient on_gradient,
                            const at::Tensor& residual, const at::Tensor& known) {
  TORCH_CHECK(weight.format == cpu::WeightFormat::kDense, "[trainable_linear] a quantised weight cannot be trained");
  TORCH_CHECK(x.dim() == 2 && x.size(1) == weight.in_features && x.scalar_type() == weight.dtype && x.is_contiguous(),
              "[trainable_linear] x must be contiguous [tokens, ", weight.in_features, "] of the weight's dtype");
  auto call = c10::make_intrusive<TrainableCall>();
  call->linear.weight = &weight;
  call->on_gradient = std::move(on_gradient);
  const auto or_empty = [](const at::Tensor& t) { return t.defined() ? t : at::empty({0}); };
  return TrainableLinear::apply(x, or_empty(residual), or_empty(known), call);
}

}  // namespace graft::ops
