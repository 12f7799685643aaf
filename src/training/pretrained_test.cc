#include "training/pretrained.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_directory.h"

namespace graft::training {
namespace {

using testing::HasSubstr;

class PretrainedTest : public testing::Test {
 protected:
  PretrainedTest() {
    base_.name = "smol";
    base_.digest = "0123456789abcdef";
    adapter("job/checkpoints/5/adapter");
    adapter("job/checkpoints/40/adapter");
    write("job/job.json", R"({"base_digest": "0123456789abcdef"})");
  }
  void write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(make_directories((root_ / name).parent_path()).ok());
    ASSERT_TRUE(write_file_atomic(root_ / name, content).ok());
  }
  void adapter(const std::string& name, const std::string& base = "smol") {
    write(name + "/adapter_config.json", R"({"peft_type": "LORA", "base_model_name_or_path": ")" + base + "\"}");
  }
  std::string found(const std::string& name) {
    const auto result = find_pretrained((root_ / name).string(), base_);
    if (!result.ok()) return result.error().message;
    warnings_ = result->warnings;
    return fs::path(result->directory).lexically_relative(root_.path()).string();
  }

  TestDirectory root_;
  BaseModelInfo base_;
  std::vector<std::string> warnings_;
};

TEST_F(PretrainedTest, ARunMeansItsResultAndACheckpointTheAdapterInIt) {
  EXPECT_EQ(found("job/checkpoints/5"), "job/checkpoints/5/adapter");
  EXPECT_EQ(found("job/checkpoints/5/adapter"), "job/checkpoints/5/adapter");
  EXPECT_THAT(found("job"), HasSubstr("has not finished; name one of its checkpoints, such as " +
                                      (root_ / "job/checkpoints/40").string()));
  adapter("job/adapter");
  EXPECT_EQ(found("job"), "job/adapter");
  EXPECT_TRUE(warnings_.empty());
  EXPECT_THAT(found("job/checkpoints"), HasSubstr("holds no adapter_config.json"));
  EXPECT_THAT(found("nothing"), HasSubstr("is not there"));
}

TEST_F(PretrainedTest, AnotherBaseIsRefusedAndAnUnknownOneWarnedOf) {
  write("job/job.json", R"({"base_digest": "fedcba9876543210"})");
  EXPECT_THAT(found("job/checkpoints/5"), HasSubstr("over another base model (SHA-256 fedcba987654..., smol is 0123"));
  adapter("certified");
  write("certified/certificate.json", R"({"base_digest": "77"})");
  EXPECT_THAT(found("certified"), HasSubstr("another base model"));
  write("certified/certificate.json", R"({"base_digest": "0123456789abcdef"})");
  EXPECT_EQ(found("certified"), "certified");
  adapter("stray", "org/other");
  EXPECT_EQ(found("stray"), "stray");
  EXPECT_THAT(warnings_, testing::ElementsAre(HasSubstr("made for the base model org/other, not smol")));
}

}  // namespace
}  // namespace graft::training
