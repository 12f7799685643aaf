#pragma once

#include <functional>
#include <memory>

#include "grammar/grammar.h"

namespace graft::grammar {

struct CompilerOptions {
  GrammarLimits limits;
  int threads = 1;
  size_t waiting = 64;              // different grammars that wait to be compiled; more are refused as overloaded
  int64_t cache_bytes = 128 << 20;  // of compiled grammars that are kept, least recently used first out
};

struct CompilerStats {
  uint64_t compiled = 0, refused = 0, found = 0, joined = 0;  // joined: waited for an equal one under way
  int64_t cached_bytes = 0;
  size_t cached = 0, waiting = 0;
};

// Compiles grammars on threads of its own, once for equal texts, and keeps the latest. Thread-safe.
class Compiler {
 public:
  using Outcome = Result<std::shared_ptr<const Grammar>>;
  using Done = std::function<void(Outcome)>;
  using MakeVocabulary = std::function<std::shared_ptr<const Vocabulary>()>;

  // `vocabulary` is called once, by the first compilation: a large one takes a second.
  static std::unique_ptr<Compiler> create(MakeVocabulary vocabulary, CompilerOptions options);
  virtual ~Compiler() = default;  // stop(); not on a compiling thread, so stop before callbacks hold the last owner

  // Those that wait get a cancelled error, as does what comes later; what is being compiled is waited for.
  virtual void stop() = 0;

  // Calls `done` exactly once: at once where the grammar is known, else on a compiling thread. It must not throw.
  virtual void compile(GrammarSpec spec, Done done) = 0;
  [[nodiscard]] virtual CompilerStats stats() const = 0;
};

// compile() and wait.
Compiler::Outcome compile_and_wait(Compiler& compiler, GrammarSpec spec);

}  // namespace graft::grammar
