#include "recipe/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/test_directory.h"
#include "recipe/adapter_settings.h"

namespace graft::recipe {
namespace {

using testing::HasSubstr;

formats::ModelSpec smol() {
  formats::ModelSpec spec;
  spec.architecture = "LlamaForCausalLM";
  spec.model_type = "llama";
  spec.vocab_size = 49152;
  spec.hidden_size = 576;
  spec.intermediate_size = 1536;
  spec.num_layers = 30;
  spec.num_heads = 9;
  spec.num_kv_heads = 3;
  spec.head_dim = 64;
  spec.max_position = 8192;
  spec.tie_word_embeddings = true;
  return spec;
}

std::vector<formats::AdapterSlot> slots(const AdapterConfig& adapter) {
  auto made = formats::adapter_slots(peft_config(adapter, "m"), smol());
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? *made : std::vector<formats::AdapterSlot>{};
}

MemoryInputs inputs(int64_t tokens) {
  AdapterConfig adapter;
  adapter.r = 16;
  adapter.target_modules = {"all-linear"};
  return {
      .spec = smol(), .slots = slots(adapter), .dtype_bytes = 2, .micro_batch_tokens = tokens, .sample_tokens = 1024};
}

int64_t bytes_of(const MemoryPlan& plan, const std::string& name) {
  for (const auto& item : plan.items) {
    if (item.name.find(name) != std::string::npos) return item.bytes;
  }
  ADD_FAILURE() << name;
  return 0;
}

TEST(AdapterSettings, BecomePeftsSettings) {
  AdapterConfig adapter;
  adapter.r = 4;
  adapter.alpha = 12;
  adapter.use_rslora = true;
  adapter.rank_pattern = {{"layers.0.self_attn.q_proj", 32}};
  const auto made = slots(adapter);
  ASSERT_EQ(made.size(), 60U);  // q and v of 30 layers
  EXPECT_EQ(made[0].path, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(made[0].r, 32);
  EXPECT_EQ(made[1].r, 4);
  EXPECT_DOUBLE_EQ(made[1].scale, 6.0);  // 12 / sqrt(4)
  adapter.target_modules = {"qproj"};
  EXPECT_FALSE(formats::adapter_slots(peft_config(adapter, "m"), smol()).ok());
}

TEST(MemoryPlan, CountsWeightsAndAdapterExactly) {
  const MemoryPlan plan = plan_memory(inputs(2048));
  EXPECT_EQ(bytes_of(plan, "base weights"), 134515008LL * 2);
  // PEFT's count for r 16 on all linear layers of this model, each in float32 with gradient and two moments and packed.
  EXPECT_EQ(bytes_of(plan, "adapter"), 4884480LL * (16 + 4));
  EXPECT_EQ(bytes_of(plan, "cache"), 1024LL * 30 * 2 * 3 * 64 * 2);
}

TEST(MemoryPlan, GrowsWithTheMicroBatchAndNothingElseDoes) {
  const MemoryPlan small = plan_memory(inputs(1000));
  const MemoryPlan large = plan_memory(inputs(2000));
  EXPECT_EQ(bytes_of(large, "activations"), 2 * bytes_of(small, "activations"));
  EXPECT_EQ(bytes_of(large, "base weights"), bytes_of(small, "base weights"));
  EXPECT_EQ(bytes_of(large, "activations"), 2000 * large.bytes_per_token);
}

TEST(MemoryPlan, WithoutAdaptersOnAnInputTheInputIsNotKept) {
  MemoryInputs all = inputs(1000);
  MemoryInputs attention = all;
  AdapterConfig adapter;
  adapter.r = 16;
  attention.slots = slots(adapter);
  EXPECT_LT(plan_memory(attention).bytes_per_token, plan_memory(all).bytes_per_token);
}

TEST(MemoryPlan, CheckpointingIsChosenWhereNothingElseFits) {
  const MemoryInputs one = inputs(8192);
  const int64_t without = plan_memory(one).total();
  EXPECT_FALSE(choose_plan(one, {}, without).checkpointing);
  EXPECT_FALSE(choose_plan(one, {}, std::nullopt).checkpointing);
  const MemoryPlan tight = choose_plan(one, {}, without - 1);
  EXPECT_TRUE(tight.checkpointing);
  EXPECT_LT(tight.total(), without / 2);
  EXPECT_THAT(memory_table(tight, {}), HasSubstr("checkpointed"));
  EXPECT_TRUE(choose_plan(one, true, without).checkpointing);
  const MemoryPlan refused = choose_plan(one, false, without - 1);
  EXPECT_FALSE(refused.checkpointing);
  EXPECT_THAT(check_memory(refused, without - 1).error().message,
              HasSubstr("leave trainer.enable_gradient_checkpointing on auto, or set trainer.max_micro_batch_tokens"));
}

TEST(MemoryPlan, TrainingAllWeightsNeedsLittleMoreThanThem) {
  MemoryInputs full = inputs(2048);
  full.slots.clear();
  full.full = true;
  full.optimizer_bytes = 2;
  const MemoryPlan plan = choose_plan(full, true, std::nullopt);
  EXPECT_EQ(bytes_of(plan, "weights"), 134515008LL * 2);
  EXPECT_EQ(bytes_of(plan, "optimizer"), 134515008LL * 2);
  EXPECT_LT(plan.total(), int64_t{1200} << 20);
  full.micro_batch_tokens = 8192;
  EXPECT_LT(choose_plan(full, true, std::nullopt).total(), int64_t{4} << 30);
  const Status refused = check_memory(choose_plan(full, {}, int64_t{1} << 30), int64_t{1} << 30);
  EXPECT_THAT(refused.error().message, HasSubstr("set trainer.max_batch_tokens to"));
}

TEST(MemoryPlan, TheLargestMicroBatchFollowsFromTheStep) {
  TrainerConfig trainer;
  trainer.max_micro_batch_tokens = 4096;
  trainer.max_batch_tokens = 2048;
  EXPECT_EQ(largest_micro_batch(trainer, 500), 2048);
  EXPECT_EQ(largest_micro_batch(trainer, 3000), 3000);
  trainer.max_batch_tokens = 100000;
  EXPECT_EQ(largest_micro_batch(trainer, 500), 4096);
  trainer.max_batch_tokens.reset();
  trainer.effective_batch_size = 4;
  EXPECT_EQ(largest_micro_batch(trainer, 500), 2000);
  trainer.effective_batch_size = int64_t{1} << 60;
  EXPECT_EQ(largest_micro_batch(trainer, 500), 4096);
}

TEST(MemoryPlan, WhatCannotFitIsRefusedWithTheRemedy) {
  const MemoryPlan plan = plan_memory(inputs(8192));
  EXPECT_TRUE(check_memory(plan, std::nullopt).ok());
  EXPECT_TRUE(check_memory(plan, plan.total()).ok());
  const Status refused = check_memory(plan, plan.total() - 1000 * plan.bytes_per_token);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("set trainer.max_micro_batch_tokens to 7168 or less"));
  EXPECT_THAT(check_memory(plan, 1 << 20).error().message, HasSubstr("use a smaller base model"));
}

TEST(MemoryPlan, TheRemedyFits) {
  const MemoryPlan plan = plan_memory(inputs(8192));
  for (int64_t less = 1; less < 8000; less += 777) {
    const int64_t available = plan.total() - less * plan.bytes_per_token;
    const std::string message = check_memory(plan, available).error().message;
    const std::string key = "max_micro_batch_tokens to ";
    const auto place = message.find(key);
    ASSERT_NE(place, std::string::npos) << message;
    EXPECT_TRUE(check_memory(plan_memory(inputs(std::stoll(message.substr(place + key.size())))), available).ok());
  }
}

TEST(MemoryPlan, TheTableListsItemsTotalAndWhatIsThere) {
  const std::string table = memory_table(plan_memory(inputs(2048)), int64_t{3} << 30);
  EXPECT_THAT(table, HasSubstr("base weights"));
  EXPECT_THAT(table, HasSubstr("257 MiB\n"));
  EXPECT_THAT(table, HasSubstr("activations of 2048 tokens"));
  EXPECT_THAT(table, HasSubstr("3.0 GiB\n"));
}

class AvailableMemory : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((dir_ / path).parent_path());
    std::ofstream(dir_ / path) << text;
  }
  std::optional<int64_t> available() { return available_memory(dir_.path()); }

  TestDirectory dir_;
};

TEST_F(AvailableMemory, IsWhatTheKernelSays) {
  EXPECT_EQ(available(), std::nullopt);
  write("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    5000 kB\n");
  EXPECT_EQ(available(), 5000 * 1024);
  EXPECT_GT(available_memory().value_or(0), 0);
}

TEST_F(AvailableMemory, IsLessInsideALimitedGroup) {
  write("proc/meminfo", "MemAvailable:    5000 kB\n");
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.current", "700\n");
  EXPECT_EQ(available(), 5000 * 1024);
  write("sys/fs/cgroup/a/memory.max", "2000\n");
  write("sys/fs/cgroup/a/memory.current", "1500\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 400\n");
  EXPECT_EQ(available(), 900);
}

TEST_F(AvailableMemory, OldGroupsCountToo) {
  write("proc/meminfo", "MemAvailable:    5000 kB\n");
  write("proc/self/cgroup", "7:cpu:/x\n4:memory:/c\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n");
  write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "10\n");
  EXPECT_EQ(available(), 2000);
}

}  // namespace
}  // namespace graft::recipe
