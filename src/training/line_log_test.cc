#include "training/line_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/files.h"
#include "base/test_directory.h"

namespace graft::training {
namespace {

std::string content_of(const fs::path& path) {
  auto content = read_file(path);
  return content.ok() ? *content : content.error().message;
}

TEST(LineLog, AppendsAcrossOpens) {
  TestDirectory directory;
  for (const char* line : {"one", "two", "three"}) {
    auto log = LineLog::open(directory / "log");
    ASSERT_TRUE(log.ok()) << log.error().message;
    ASSERT_TRUE(log->append(line).ok());
  }
  EXPECT_EQ(content_of(directory / "log"), "one\ntwo\nthree\n");
}

TEST(LineLog, CutsATornLastLineAtEveryByte) {
  TestDirectory directory;
  const std::string whole = "first\n" + std::string(5000, 'x') + "\nlast line\n";
  for (const size_t size : {size_t{0}, size_t{3}, size_t{5}, size_t{6}, size_t{7}, size_t{4102}, size_t{5006},
                            size_t{5007}, size_t{5008}, whole.size() - 1, whole.size()}) {
    const std::string torn = whole.substr(0, size);
    const size_t end = torn.rfind('\n');
    const std::string kept = end == std::string::npos ? "" : torn.substr(0, end + 1);
    std::ofstream(directory / "log", std::ios::binary | std::ios::trunc) << torn;
    auto log = LineLog::open(directory / "log");
    ASSERT_TRUE(log.ok()) << log.error().message;
    ASSERT_TRUE(log->append("next").ok());
    EXPECT_EQ(content_of(directory / "log"), kept + "next\n") << "cut at " << size;
  }
}

TEST(LineLog, FullDiskLeavesNoHalfLine) {
  TestDirectory directory;
  const pid_t child = fork();
  if (child == 0) {
    // The limit stands in for a full disk: a write past it is cut short, the next one fails.
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto log = LineLog::open(directory / "log");
    if (!log.ok() || !log->append(std::string(60, 'a')).ok()) _exit(1);
    const Status refused = log->append(std::string(60, 'b'));
    if (refused.ok() || refused.error().kind != ErrorKind::kIo) _exit(2);
    if (!log->append("short").ok()) _exit(3);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(content_of(directory / "log"), std::string(60, 'a') + "\nshort\n");
}

TEST(LineLog, NamesTheFileThatCannotBeOpened) {
  TestDirectory directory;
  auto log = LineLog::open(directory / "missing" / "log");
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().message.find("missing/log"), std::string::npos);
}

}  // namespace
}  // namespace graft::training
