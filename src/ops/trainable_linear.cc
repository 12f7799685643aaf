#include "ops/trainable_linear.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "ops/dtype.h"
#include "ops/linear.h"

namespace graft::ops {

namespace {

struct TrainableCall : torch::CustomClassHolder {
  const LinearWeight* weight = nullptr;
  OnLinearGradient on_gradient;
};

template <class T>
at::Tensor input_gradient(const LinearWeight& weight, const at::Tensor& dy) {
  at::Tensor dx = at::empty({dy.size(0), weight.in_features}, dy.options());
  cpu::ProductArgs args;
  args.a = data<T>(dy);
  args.lda = dy.size(1);
  args.m = dy.size(0);
  args.k = weight.in_features;
  args.parts = weight.parts;
  args.c = mutable_data<T>(dx);
  args.ldc = weight.in_features;
  cpu::product_transposed<T>(args);
  return dx;
}

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
    return linear(x.detach(), *call->weight, {}, with_residual ? add.detach() : at::Tensor());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<TrainableCall>(ctx->saved_data["call"].toCapsule());
    const at::Tensor x = ctx->get_saved_variables()[0];
    const LinearWeight& weight = *call->weight;
    const at::Tensor dy = grads[0].to(weight.dtype).contiguous();
    at::Tensor dx =
        weight.dtype == at::kBFloat16 ? input_gradient<cpu::bf16>(weight, dy) : input_gradient<float>(weight, dy);
    call->on_gradient(x, dy);
    const bool with_residual = ctx->saved_data["residual"].toBool();
    return {dx, with_residual ? grads[0] : at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor trainable_linear(const at::Tensor& x, const LinearWeight& weight, OnLinearGradient on_gradient,
                            const at::Tensor& residual, const at::Tensor& known) {
  TORCH_CHECK(weight.format == cpu::WeightFormat::kDense, "[trainable_linear] a quantised weight cannot be trained");
  TORCH_CHECK(x.dim() == 2 && x.size(1) == weight.in_features && x.scalar_type() == weight.dtype && x.is_contiguous(),
              "[trainable_linear] x must be contiguous [tokens, ", weight.in_features, "] of the weight's dtype");
  auto call = c10::make_intrusive<TrainableCall>();
  call->weight = &weight;
  call->on_gradient = std::move(on_gradient);
  const auto or_empty = [](const at::Tensor& t) { return t.defined() ? t : at::empty({0}); };
  return TrainableLinear::apply(x, or_empty(residual), or_empty(known), call);
}

}  // namespace graft::ops
