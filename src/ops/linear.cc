#include "ops/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/dtype.h"
#include "ops/linear_call.h"
#include "ops/linear_input.h"

namespace graft::ops {

namespace {

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  // `add` is the residual, or empty: a Function cannot take an undefined tensor. -> {y}, or {y, source}
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& source,
                                                const at::Tensor& add, const c10::intrusive_ptr<LinearCall>& call,
                                                const c10::intrusive_ptr<LinearInput>& input) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool with_residual = add.numel() > 0;
    LinearSaved saved;
    at::Tensor y = call->forward(input->value(source), with_residual ? add : at::Tensor(), &saved);
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->saved_data["input"] = c10::IValue::make_capsule(input);
    ctx->saved_data["residual"] = with_residual;
    const bool needs_source = !input->is_identity() || !call->segments.empty();
    ctx->save_for_backward({needs_source ? source : at::Tensor(), saved.t, saved.unscaled});
    ctx->set_materialize_grads(false);
    if (input->hands_on()) return {y, source};
    return {y};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<LinearCall>(ctx->saved_data["call"].toCapsule());
    const auto input = c10::static_intrusive_pointer_cast<LinearInput>(ctx->saved_data["input"].toCapsule());
    const auto tensors = ctx->get_saved_variables();
    const LinearSaved saved = {tensors[1], tensors[2]};
    const at::Tensor others = grads.size() > 1 && grads[1].defined() ? grads[1].contiguous() : at::Tensor();
    if (!grads[0].defined()) return {others, at::Tensor(), at::Tensor(), at::Tensor()};
    const LinearGradients gradients = call->backward(grads[0], saved);
    const InputBackward made = input->backward(tensors[0], gradients.dx, others);
    call->accumulate(made.x, saved, gradients);
    const bool with_residual = ctx->saved_data["residual"].toBool();
    return {made.gradient, with_residual ? grads[0] : at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

c10::intrusive_ptr<LinearCall> make_call(const LinearWeight& weight, std::span<const LoraSegment> segments) {
  auto call = c10::make_intrusive<LinearCall>();
  call->weight = &weight;
  call->segments.assign(segments.begin(), segments.end());
  return call;
}

at::Tensor linear_of(const c10::intrusive_ptr<LinearInput>& input, const at::Tensor& source, const LinearWeight& weight,
                     std::span<const LoraSegment> segments, const at::Tensor& residual) {
  const auto call = make_call(weight, segments);
  if (source.requires_grad() || (residual.defined() && residual.requires_grad())) {
    return LinearFunction::apply(source, residual.defined() ? residual : at::empty({0}), call, input)[0];
  }
  return call->forward(input->value(source), residual, nullptr);
}

void check_input(const at::Tensor& x, int64_t width, at::ScalarType dtype) {
  TORCH_CHECK(x.dim() == 2 && x.size(1) == width && x.scalar_type() == dtype && x.is_contiguous(),
              "[linear] the input must be contiguous [tokens, ", width, "] of type ", dtype);
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const LinearWeight& weight, std::span<const LoraSegment> segments,
                  const at::Tensor& residual) {
  check_input(x, weight.in_features, weight.dtype);
  return linear_of(plain_input(), x, weight, segments, residual);
}

NormedLinear normed_linear(const at::Tensor& x, const at::Tensor& norm, double eps, const LinearWeight& weight,
                           std::span<const LoraSegment> segments) {
  check_input(x, weight.in_features, at::kFloat);
  const auto call = make_call(weight, segments);
  const auto input = normed_input(norm, eps, weight.dtype);
  if (!x.requires_grad()) return {call->forward(input->value(x), {}, nullptr), x};
  const auto outputs = LinearFunction::apply(x, at::empty({0}), call, input);
  return {outputs[0], outputs[1]};
}

at::Tensor silu_linear(const at::Tensor& gate_up, const LinearWeight& weight, std::span<const LoraSegment> segments,
                       const at::Tensor& residual) {
  check_input(gate_up, 2 * weight.in_features, weight.dtype);
  return linear_of(silu_input(), gate_up, weight, segments, residual);
}

void project_into(const at::Tensor& x, const LinearWeight& weight, at::Tensor& out) {
  TORCH_CHECK(x.is_contiguous() && x.size(1) == weight.in_features && out.size(0) >= x.size(0) &&
                  out.size(1) == weight.out_features && out.scalar_type() == at::kFloat,
              "[project_into] out must be float32 [>= tokens, ", weight.out_features, "]");
  cpu::ProductArgs args;
  args.a = x.const_data_ptr();
  args.lda = x.size(1);
  args.m = x.size(0);
  args.k = weight.in_features;
  args.format = weight.format;
  args.parts = weight.parts;
  args.c = out.mutable_data_ptr();
  args.ldc = weight.out_features;
  args.c_is_float = true;
  if (weight.dtype == at::kBFloat16) {
    cpu::product<cpu::bf16>(args);
  } else {
    cpu::product<float>(args);
  }
}

at::Tensor linear_composed(const at::Tensor& x, const at::Tensor& w, std::span<const DenseLora> loras,
                           const at::Tensor& residual) {
  at::Tensor y = at::linear(x, w).to(at::kFloat);
  for (const DenseLora& lora : loras) {
    const int64_t rows = lora.row_end - lora.row_begin;
    const at::Tensor part = x.narrow(0, lora.row_begin, rows);
    const at::Tensor low =
        (at::linear(part, lora.a.to(x.scalar_type())).to(at::kFloat) * lora.scale).to(x.scalar_type());
    const at::Tensor grafted = at::linear(low, lora.b.to(x.scalar_type())).to(at::kFloat);
    at::Tensor whole = at::zeros_like(y);
    whole.narrow(0, lora.row_begin, rows).narrow(1, lora.column, lora.b.size(0)).copy_(grafted);
    y = y + whole;
  }
  return residual.defined() ? y + residual : y.to(x.scalar_type());
}

}  // namespace graft::ops
