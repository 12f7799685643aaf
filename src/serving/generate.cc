#include <functional>
#include <future>
#include <utility>

#include "serving/engine.h"

namespace graft::serving {
namespace {

class WaitingSink final : public GenerationSink {
 public:
  explicit WaitingSink(std::function<void(const GeneratedToken&)> on_token) : on_token_(std::move(on_token)) {}

  void on_token(const GeneratedToken& token) override {
    if (on_token_) on_token_(token);
  }
  void on_finish(GenerationResult result) override { outcome_.set_value(std::move(result)); }
  void on_error(Error error) override { outcome_.set_value(std::move(error)); }
  std::future<Result<GenerationResult>> outcome() { return outcome_.get_future(); }

 private:
  std::function<void(const GeneratedToken&)> on_token_;
  std::promise<Result<GenerationResult>> outcome_;
};

}  // namespace

Result<GenerationResult> generate(Engine& engine, GenerationRequest request,
                                  std::function<void(const GeneratedToken&)> on_token) {
  auto sink = std::make_shared<WaitingSink>(std::move(on_token));
  auto outcome = sink->outcome();
  GRAFT_TRY(const RequestId id, engine.submit(std::move(request), sink));
  static_cast<void>(id);
  return outcome.get();
}

}  // namespace graft::serving
