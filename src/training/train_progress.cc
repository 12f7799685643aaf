#include "training/train_progress.h"

#include <fmt/format.h>

namespace graft::training {
namespace {

constexpr double kKeep = 0.9;

}  // namespace

Progress& TrainProgress::bar(const StepReport& report) {
  if (!bar_) {
    Progress::Options options;
    options.style = style_;
    options.label = "training";
    options.total = total_steps_;
    options.done = report.step - 1;
    options.elapsed = report.seconds;
    bar_ = std::make_unique<Progress>(out_, std::move(options));
  }
  return *bar_;
}

void TrainProgress::on_step(const StepReport& report) {
  recent_tokens_ = kKeep * recent_tokens_ + static_cast<double>(report.tokens);
  recent_seconds_ = kKeep * recent_seconds_ + report.seconds;
  std::string detail = fmt::format("loss {:.4f}", report.loss);
  if (validation_loss_) detail += fmt::format("  validation {:.4f}", *validation_loss_);
  if (recent_seconds_ > 0) detail += fmt::format("  {:.0f} tokens/s", recent_tokens_ / recent_seconds_);
  bar(report).update(report.step, detail);
}

void TrainProgress::on_evaluation(int64_t step, double loss, bool best) {
  validation_loss_ = loss;
  const char* remark = step == 0 ? " (before training)" : best ? " (the best so far)" : "";
  on_note(fmt::format("step {}: validation loss {:.4f}{}", step, loss, remark));
}

void TrainProgress::on_metrics(int64_t step, const MetricValues& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) text += fmt::format("{} {} {:.4f}", text.empty() ? "" : ",", name, value);
  on_note(fmt::format("step {}:{}", step, text));
}

void TrainProgress::on_note(std::string_view line) {
  if (bar_) {
    bar_->note(line);
  } else if (style_ != ProgressStyle::kQuiet) {
    out_ << line << '\n' << std::flush;
  }
}

void TrainProgress::finish() {
  if (bar_) bar_->finish();
}

}  // namespace graft::training
