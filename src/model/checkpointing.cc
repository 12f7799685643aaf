#include "model/checkpointing.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace graft::model {

namespace {

struct Call : torch::CustomClassHolder {
  const Decoder* decoder = nullptr;
  int64_t layer = 0;
  LayerRun run;

  // `known`: as of Decoder::trained_layer.
  [[nodiscard]] at::Tensor forward(const at::Tensor& residual, const at::Tensor& known) const {
    PackedContext context(run.cu_seqlens);
    if (run.gradients != nullptr && residual.requires_grad()) {
      return decoder->trained_layer(layer, residual, context, *run.gradients, known);
    }
    return decoder->layer(layer, residual, context, run.segments);
  }
};

class CheckpointedLayer : public torch::autograd::Function<CheckpointedLayer> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& residual,
                            const c10::intrusive_ptr<Call>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    at::Tensor y = call->forward(residual.detach(), {});
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->save_for_backward({residual, y});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<Call>(ctx->saved_data["call"].toCapsule());
    const auto saved = ctx->get_saved_variables();
    const at::AutoGradMode with_gradients(true);
    at::Tensor residual = saved[0].detach();
    residual.requires_grad_(true);
    call->forward(residual, saved[1].detach()).backward(grads[0]);
    return {residual.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor forward_checkpointed(const Decoder& decoder, at::Tensor embeddings, const LayerRun& run) {
  at::Tensor residual = std::move(embeddings);
  residual.requires_grad_(true);
  for (int64_t i = 0; i < decoder.spec().num_layers; ++i) {
    auto call = c10::make_intrusive<Call>();
    call->decoder = &decoder;
    call->layer = i;
    call->run = run;
    residual = CheckpointedLayer::apply(residual, call);
  }
  return residual;
}

}  // namespace graft::model
