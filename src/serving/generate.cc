#include <future>
#include <utility>

#include "serving/engine.h"

namespace graft::serving {
namespace {

class WaitingSink final : public GenerationSink {
 public:
  void on_token(const GeneratedToken& /*token*/) override {}
  void on_finish(GenerationResult result) override { outcome_.set_value(std::move(result)); }
  void on_error(Error error) override { outcome_.set_value(std::move(error)); }
  std::future<Result<GenerationResult>> outcome() { return outcome_.get_future(); }

 private:
  std::promise<Result<GenerationResult>> outcome_;
};

}  // namespace

Result<GenerationResult> generate(Engine& engine, GenerationRequest request) {
  auto sink = std::make_shared<WaitingSink>();
  auto outcome = sink->outcome();
  GRAFT_TRY(const RequestId id, engine.submit(std::move(request), sink));
  static_cast<void>(id);
  return outcome.get();
}

}  // namespace graft::serving
