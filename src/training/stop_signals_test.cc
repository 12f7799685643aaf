#include "training/stop_signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace graft::training {
namespace {

TEST(StopSignals, FirstSignalAsksSecondKills) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const pid_t child = fork();
    if (child == 0) {
      const StopSignals signals;
      if (signals.requested()) _exit(1);
      ::raise(signal);
      if (!signals.requested()) _exit(2);
      ::raise(signal);
      _exit(3);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    EXPECT_EQ(WTERMSIG(status), signal);
  }
}

TEST(StopSignals, StartsWithoutARequest) {
  {
    const StopSignals signals;
    ::raise(SIGTERM);
    EXPECT_TRUE(signals.requested());
  }
  const StopSignals again;
  EXPECT_FALSE(again.requested());
}

}  // namespace
}  // namespace graft::training
