#include "training/stop_signals.h"

#include <csignal>

namespace graft::training {
namespace {

// The one place where a signal handler can leave something. Lock-free, so that a handler may touch it.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void request_stop(int /*signal*/) { stop_requested = true; }

void handle(int signal, void (*handler)(int), unsigned flags) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(flags);
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  // SA_RESETHAND: the second signal finds the default action. SA_RESTART: reads and writes under way are not broken
  // off.
  for (const int signal : {SIGINT, SIGTERM}) {
    handle(signal, request_stop, static_cast<unsigned>(SA_RESETHAND) | static_cast<unsigned>(SA_RESTART));
  }
}

StopSignals::~StopSignals() {
  for (const int signal : {SIGINT, SIGTERM}) handle(signal, SIG_DFL, 0);
}

const std::atomic<bool>& StopSignals::requested() const { return stop_requested; }

}  // namespace graft::training
