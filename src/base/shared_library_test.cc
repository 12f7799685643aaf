#include "base/shared_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(SharedLibrary, AMissingOneIsSaidSo) {
  const auto found = find_in_library("no_such_part", "function");
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message, testing::HasSubstr("libgraft_no_such_part.so"));
}

}  // namespace
}  // namespace graft
