#include "ops/cross_entropy.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

constexpr int64_t kChunkRows = 96;

cpu::ProductArgs product_args(const void* a, int64_t lda, int64_t rows, const LinearWeight& weight) {
  cpu::ProductArgs args;
  args.a = a;
  args.lda = lda;
  args.m = rows;
  args.k = weight.in_features;
  args.format = weight.format;
  args.parts = weight.parts;
  return args;
}

// Losses of rows [begin, end) and, where dx is defined, their gradient. values: the weight, dense.
template <class T>
void run_chunk(const at::Tensor& hidden, const LinearWeight& weight, const LinearWeight& values,
               std::span<const int32_t> labels, float scale, int64_t begin, int64_t end, float* losses,
               at::Tensor& logits, at::Tensor& dlogits, at::Tensor& dx) {
  const int64_t rows = end - begin;
  const int64_t vocab = weight.out_features;
  cpu::ProductArgs forward = product_args(data<T>(hidden) + begin * hidden.size(1), hidden.size(1), rows, weight);
  forward.c = logits.mutable_data_ptr();
  forward.ldc = vocab;
  forward.c_is_float = true;
  cpu::product<T>(forward);
  const auto* scores = logits.const_data_ptr<float>();
  const bool with_gradient = dx.defined();
  cpu::parallel_for(rows, [&](int64_t row) {
    T* gradient = with_gradient ? mutable_data<T>(dlogits) + row * dlogits.size(1) : nullptr;
    losses[begin + row] = cpu::kernels().cross_entropy(
        scores + row * vocab, vocab, labels[static_cast<size_t>(begin + row)], scale, gradient, sizeof(T) == 4);
  });
  if (!with_gradient) return;
  cpu::ProductArgs backward = product_args(data<T>(dlogits), dlogits.size(1), rows, values);
  backward.c = mutable_data<T>(dx) + begin * dx.size(1);
  backward.ldc = dx.size(1);
  cpu::product_transposed<T>(backward);
}

void run(const at::Tensor& hidden, const LinearWeight& weight, std::span<const int32_t> labels, double scale,
         std::vector<float>& losses, at::Tensor& dx) {
  const int64_t rows = hidden.size(0);
  const int64_t chunk = std::min(rows, kChunkRows);
  losses.resize(static_cast<size_t>(rows));
  at::Tensor logits = at::empty({chunk, weight.out_features}, hidden.options().dtype(at::kFloat));
  at::Tensor dlogits;
  // An even width, zero in the padding: the transposed product reads pairs.
  if (dx.defined()) dlogits = at::zeros({chunk, weight.out_features + (weight.out_features & 1)}, hidden.options());
  const bool quantised = weight.format != cpu::WeightFormat::kDense && dx.defined();
  const LinearWeight dense = quantised ? dequantised(weight) : LinearWeight();
  const LinearWeight& values = quantised ? dense : weight;
  for (int64_t begin = 0; begin < rows; begin += kChunkRows) {
    const int64_t end = std::min(rows, begin + kChunkRows);
    if (weight.dtype == at::kBFloat16) {
      run_chunk<cpu::bf16>(hidden, weight, values, labels, static_cast<float>(scale), begin, end, losses.data(), logits,
                           dlogits, dx);
    } else {
      run_chunk<float>(hidden, weight, values, labels, static_cast<float>(scale), begin, end, losses.data(), logits,
                       dlogits, dx);
    }
  }
}

// Carries the gradient that the forward pass already computed.
class CarryGradient : public torch::autograd::Function<CarryGradient> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& loss,
                            const at::Tensor& gradient) {
    (void)hidden;
    ctx->save_for_backward({gradient});
    return loss.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const at::Tensor gradient = ctx->get_saved_variables()[0];
    return {gradient * grads[0].to(gradient.scalar_type()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

CrossEntropy linear_cross_entropy(const at::Tensor& hidden, const LinearWeight& weight, std::span<const int32_t> labels,
                                  double scale) {
  TORCH_CHECK(hidden.dim() == 2 && hidden.size(0) == static_cast<int64_t>(labels.size()) && hidden.is_contiguous(),
              "[linear_cross_entropy] hidden must be contiguous [rows, in] with a label for each row");
  for (const int32_t label : labels) {
    TORCH_CHECK(label >= 0 && label < weight.out_features, "[linear_cross_entropy] label ", label,
                " is outside the vocabulary");
  }
  CrossEntropy result;
  const at::Tensor detached = hidden.detach();
  at::Tensor dx = hidden.requires_grad() ? at::empty(hidden.sizes(), detached.options()) : at::Tensor();
  if (!labels.empty()) run(detached, weight, labels, scale, result.losses, dx);
  for (const float loss : result.losses) result.loss_sum += loss;
  result.loss = at::full({}, result.loss_sum * scale, at::TensorOptions().dtype(at::kFloat));
  if (hidden.requires_grad()) result.loss = CarryGradient::apply(hidden, result.loss, dx);
  return result;
}

}  // namespace graft::ops
