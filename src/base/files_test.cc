#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>

#include "base/file_lock.h"
#include "base/mapped_file.h"
#include "base/test_directory.h"

namespace graft {
namespace {

using testing::HasSubstr;

size_t entries(const fs::path& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(Files, WriteThenReadGivesTheSameBytes) {
  TestDirectory dir;
  const std::string bytes("a\0b\r\n\xff", 6);
  ASSERT_TRUE(write_file_atomic(dir / "f", bytes).ok());
  EXPECT_EQ(read_file(dir / "f").value(), bytes);
  ASSERT_TRUE(write_file_atomic(dir / "f", "new").ok());
  EXPECT_EQ(read_file(dir / "f").value(), "new");
  EXPECT_EQ(entries(dir.path()), 1U);
}

TEST(Files, ReadRefusesWhatIsTooLargeOrNoFile) {
  TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "f", "12345").ok());
  EXPECT_EQ(read_file(dir / "f", 5).value(), "12345");
  EXPECT_THAT(read_file(dir / "f", 4).error().message, HasSubstr("limit of 4 bytes"));
  EXPECT_EQ(read_file(dir / "none").error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(read_file(dir.path()).error().kind, ErrorKind::kInvalid);
}

TEST(Files, AbandonedWritesLeaveNothing) {
  TestDirectory dir;
  {
    AtomicFile file = AtomicFile::create(dir / "f").value();
    ASSERT_TRUE(file.write("half").ok());
    AtomicDirectory directory = AtomicDirectory::create(dir / "d").value();
    ASSERT_TRUE(write_file_atomic(directory.path() / "x", "half").ok());
    EXPECT_EQ(entries(dir.path()), 2U);
  }
  EXPECT_EQ(entries(dir.path()), 0U);
}

TEST(Files, PublishedDirectoryIsAConflictTheSecondTimeAndReplaceable) {
  TestDirectory dir;
  auto publish = [&](const std::string& text, bool replace) -> Status {
    AtomicDirectory made = AtomicDirectory::create(dir / "d/").value();
    GRAFT_CHECK_OK(write_file_atomic(made.path() / "x", text));
    return replace ? made.replace() : made.publish();
  };
  ASSERT_TRUE(publish("one", false).ok());
  EXPECT_EQ(publish("two", false).error().kind, ErrorKind::kConflict);
  EXPECT_EQ(read_file(dir / "d/x").value(), "one");
  ASSERT_TRUE(publish("three", true).ok());
  EXPECT_EQ(read_file(dir / "d/x").value(), "three");
  EXPECT_EQ(entries(dir.path()), 1U);
}

TEST(Files, TemporariesOfKilledProcessesAreRemovedAndThoseOfLivingOnesStay) {
  TestDirectory dir;
  AtomicFile mine = AtomicFile::create(dir / "mine").value();
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto file = AtomicFile::create(dir / "theirs");
    auto directory = AtomicDirectory::create(dir / "theirs.d");
    const bool told = file.ok() && directory.ok() && write(ready[1], "x", 1) == 1;
    while (told) pause();
    _exit(1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_TRUE(remove_stale_temporaries(dir.path()).ok());
  EXPECT_EQ(entries(dir.path()), 3U);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  ASSERT_TRUE(remove_stale_temporaries(dir.path()).ok());
  EXPECT_EQ(entries(dir.path()), 1U);
  EXPECT_TRUE(mine.commit().ok());
}

TEST(Files, AFullDiskIsAnErrorAndLeavesNothing) {
  TestDirectory dir;
  // A file size limit stands in for a full disk: writes fail half way in the same manner.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 1000, .rlim_max = 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const Status status = write_file_atomic(dir / "f", std::string(5000, 'x'));
    _exit(!status.ok() && status.error().kind == ErrorKind::kIo ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(entries(dir.path()), 0U);
}

TEST(Files, FreeSpaceIsAskedForTheNearestExistingParent) {
  TestDirectory dir;
  EXPECT_GT(free_disk_space(dir / "not/yet/here").value(), 0U);
}

TEST(FileLock, ASecondHolderWaitsOrIsRefused) {
  TestDirectory dir;
  {
    auto first = FileLock::try_acquire(dir / "lock");
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(FileLock::try_acquire(dir / "lock").error().kind, ErrorKind::kConflict);
    FileLock moved = std::move(first).value();
    EXPECT_FALSE(FileLock::try_acquire(dir / "lock").ok());
  }
  EXPECT_TRUE(FileLock::try_acquire(dir / "lock").ok());
}

TEST(MappedFile, MovesWithoutMovingTheBytes) {
  TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "f", "hello").ok());
  MappedFile map = MappedFile::open(dir / "f").value();
  const auto bytes = map.bytes();
  const MappedFile moved = std::move(map);
  EXPECT_EQ(moved.bytes().data(), bytes.data());
  EXPECT_EQ(static_cast<char>(moved.bytes()[4]), 'o');
}

TEST(MappedFile, ACopySurvivesAFileThatIsCutShort) {
  const TestDirectory dir;
  std::ofstream(dir / "f") << std::string(10000, 'x');
  const MappedFile copy = MappedFile::open(dir / "f", FileAccess::kCopy).value();
  std::filesystem::resize_file(dir / "f", 0);
  ASSERT_EQ(copy.size(), 10000U);
  EXPECT_EQ(std::count(copy.bytes().begin(), copy.bytes().end(), std::byte{'x'}), 10000);
}

TEST(MappedFile, EmptyFilesAreEmptyAndDirectoriesRefused) {
  TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "f", "").ok());
  EXPECT_EQ(MappedFile::open(dir / "f").value().size(), 0U);
  EXPECT_FALSE(MappedFile::open(dir.path()).ok());
  EXPECT_EQ(MappedFile::open(dir / "none").error().kind, ErrorKind::kNotFound);
}

}  // namespace
}  // namespace graft
