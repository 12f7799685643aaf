#include "grammar/deep_thread.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace graft::grammar {
namespace {

constexpr size_t kStackBytes = size_t{256} << 20;

}  // namespace

struct DeepThread::State {
  std::function<void()> body;
  pthread_t handle{};
  static void* run(void* state) {
    static_cast<State*>(state)->body();
    return nullptr;
  }
};

DeepThread::DeepThread(std::function<void()> body) : state_(std::make_unique<State>()) {
  state_->body = std::move(body);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int status = pthread_create(&state_->handle, &attributes, State::run, state_.get());
  pthread_attr_destroy(&attributes);
  if (status != 0) throw std::system_error(status, std::generic_category(), "a thread could not be started");
}

DeepThread::~DeepThread() { pthread_join(state_->handle, nullptr); }

}  // namespace graft::grammar
