#include "grammar/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "grammar/test_tokenizer.h"

namespace graft::grammar {
namespace {

GrammarSpec word(const std::string& text) { return {GrammarKind::kRegex, text}; }

class CompilerTest : public ::testing::Test {
 protected:
  // The vocabulary is made when `gate` opens, so that compilations can be held up.
  std::unique_ptr<Compiler> make(CompilerOptions options = {}) {
    return Compiler::create(
        [this] {
          gate_.get_future().wait();
          return model_.vocabulary;
        },
        options);
  }
  void open() { gate_.set_value(); }

  TestModel model_;
  std::promise<void> gate_;
};

TEST_F(CompilerTest, EqualGrammarsAreCompiledOnce) {
  const auto compiler = make();
  std::atomic<int> done{0};
  std::vector<const Grammar*> seen(8);
  for (size_t i = 0; i < seen.size(); ++i) {
    compiler->compile(word("a|b"), [&, i](const Compiler::Outcome& outcome) {
      seen[i] = outcome.ok() ? outcome.value().get() : nullptr;
      ++done;
    });
  }
  open();
  const auto again = compile_and_wait(*compiler, word("a|b"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(done, 8) << "those that came first are told first";
  for (const Grammar* grammar : seen) EXPECT_EQ(grammar, again->get());
  const CompilerStats stats = compiler->stats();
  EXPECT_EQ(stats.compiled, 1U);
  EXPECT_GE(stats.joined + stats.found, 8U);
}

TEST_F(CompilerTest, WhatIsKnownIsToldAtOnce) {
  open();
  const auto compiler = make();
  ASSERT_TRUE(compile_and_wait(*compiler, word("a")).ok());
  bool told = false;
  compiler->compile(word("a"), [&](const Compiler::Outcome& outcome) { told = outcome.ok(); });
  EXPECT_TRUE(told);
}

TEST_F(CompilerTest, KindsAreNotMixedUp) {
  open();
  const auto compiler = make();
  const auto regex = compile_and_wait(*compiler, {GrammarKind::kRegex, "{}"});
  const auto schema = compile_and_wait(*compiler, {GrammarKind::kJsonSchema, "{}"});
  EXPECT_FALSE(regex.ok());
  EXPECT_TRUE(schema.ok());
}

TEST_F(CompilerTest, TheLeastRecentlyUsedOnesMakeRoom) {
  open();
  CompilerOptions options;
  options.cache_bytes = 20'000;
  const auto compiler = make(options);
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(compile_and_wait(*compiler, word("x{" + std::to_string(i + 1) + "}")).ok());
    ASSERT_TRUE(compile_and_wait(*compiler, word("kept")).ok());
  }
  const CompilerStats stats = compiler->stats();
  EXPECT_LE(stats.cached_bytes, options.cache_bytes);
  EXPECT_LT(stats.cached, 60U);
  EXPECT_EQ(stats.compiled, 61U) << "the one in use stays";
}

TEST_F(CompilerTest, MoreThanMayWaitAreOverloaded) {
  CompilerOptions options;
  options.waiting = 2;
  const auto compiler = make(options);
  std::atomic<int> told{0};
  const auto count = [&](const Compiler::Outcome&) { ++told; };
  compiler->compile(word("a"), count);
  while (compiler->stats().waiting > 0) std::this_thread::yield();  // it is being compiled
  compiler->compile(word("b"), count);
  compiler->compile(word("c"), count);
  ErrorKind kind{};
  compiler->compile(word("d"), [&](const Compiler::Outcome& outcome) { kind = outcome.error().kind; });
  EXPECT_EQ(kind, ErrorKind::kOverloaded);
  compiler->compile(word("b"), count);  // joins one that waits
  open();
  ASSERT_TRUE(compile_and_wait(*compiler, word("c")).ok());
  compiler->stop();
  EXPECT_EQ(told, 4);
}

TEST_F(CompilerTest, StoppingTellsThoseThatWait) {
  const auto compiler = make();
  std::atomic<int> fine{0};
  std::atomic<int> stopped{0};
  const auto count = [&](const Compiler::Outcome& outcome) { ++(outcome.ok() ? fine : stopped); };
  compiler->compile(word("a"), count);
  while (compiler->stats().waiting > 0) std::this_thread::yield();
  compiler->compile(word("b"), count);
  compiler->compile(word("c"), count);
  std::thread opener([&] { open(); });
  compiler->stop();
  opener.join();
  EXPECT_EQ(fine + stopped, 3);
  compiler->compile(word("d"), count);
  EXPECT_EQ(fine + stopped, 4);
}

}  // namespace
}  // namespace graft::grammar
