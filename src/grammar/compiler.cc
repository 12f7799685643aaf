#include "grammar/compiler.h"

#include <condition_variable>
#include <deque>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "grammar/deep_thread.h"

namespace graft::grammar {
namespace {

using Key = std::pair<GrammarKind, std::string>;

class CompilerImpl final : public Compiler {
 public:
  CompilerImpl(MakeVocabulary vocabulary, CompilerOptions options)
      : options_(options), make_vocabulary_(std::move(vocabulary)) {
    for (int i = 0; i < std::max(options_.threads, 1); ++i) {
      threads_.push_back(std::make_unique<DeepThread>([this] { run(); }));
    }
  }

  ~CompilerImpl() override { CompilerImpl::stop(); }

  void stop() override {
    std::map<Key, std::vector<Done>> left;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const Key& key : queue_) left.insert(waiting_.extract(key));
      queue_.clear();
    }
    wake_.notify_all();
    threads_.clear();
    for (const auto& [key, dones] : left) {
      for (const Done& done : dones) done(stopped());
    }
  }

  void compile(GrammarSpec spec, Done done) override {
    Key key(spec.kind, std::move(spec.text));
    std::shared_ptr<const Grammar> known;
    bool stopping = false;
    {
      const std::lock_guard lock(mutex_);
      stopping = stopping_;
      known = look_up(key);
      const bool room = queue_.size() < options_.waiting || waiting_.contains(key);
      if (known == nullptr && room && !stopping) return enqueue(std::move(key), std::move(done));
    }
    if (known != nullptr) return done(std::move(known));
    if (stopping) return done(stopped());
    done(overloaded("too many grammars wait to be compiled"));
  }

  [[nodiscard]] CompilerStats stats() const override {
    const std::lock_guard lock(mutex_);
    CompilerStats stats = stats_;
    stats.cached = cache_.size();
    stats.waiting = queue_.size();
    return stats;
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const Grammar> grammar;
    int64_t bytes = 0;
  };

  static Error stopped() { return cancelled("the grammar was not compiled: the server is stopping"); }

  std::shared_ptr<const Grammar> look_up(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    ++stats_.found;
    cache_.splice(cache_.begin(), cache_, found->second);
    return found->second->grammar;
  }

  void enqueue(Key key, Done done) {
    const auto [place, added] = waiting_.try_emplace(key);
    place->second.push_back(std::move(done));
    if (!added) {
      ++stats_.joined;
      return;
    }
    queue_.push_back(std::move(key));
    wake_.notify_one();
  }

  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const Key key = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      const Outcome outcome = compile_now({key.first, key.second});
      lock.lock();
      const std::vector<Done> dones = std::move(waiting_.extract(key).mapped());
      ++(outcome.ok() ? stats_.compiled : stats_.refused);
      std::list<Entry> dropped;
      if (outcome.ok()) dropped = keep(key, *outcome);
      lock.unlock();
      for (const Done& done : dones) done(outcome);
    }
  }

  Outcome compile_now(const GrammarSpec& spec) {
    try {
      std::call_once(vocabulary_made_, [this] { vocabulary_ = make_vocabulary_(); });
      return grammar::compile(spec, vocabulary_, options_.limits);
    } catch (const std::exception& error) {
      return internal_error(std::string("a grammar could not be compiled: ") + error.what());
    }
  }

  // Returns what had to make room, so that it is destroyed outside the lock.
  std::list<Entry> keep(const Key& key, std::shared_ptr<const Grammar> grammar) {
    const int64_t bytes = grammar->bytes() + static_cast<int64_t>(key.second.size());
    cache_.push_front({key, std::move(grammar), bytes});
    index_[key] = cache_.begin();
    stats_.cached_bytes += bytes;
    std::list<Entry> dropped;
    while (stats_.cached_bytes > options_.cache_bytes && !cache_.empty()) {
      stats_.cached_bytes -= cache_.back().bytes;
      index_.erase(cache_.back().key);
      dropped.splice(dropped.end(), cache_, std::prev(cache_.end()));
    }
    return dropped;
  }

  const CompilerOptions options_;
  const MakeVocabulary make_vocabulary_;
  std::once_flag vocabulary_made_;
  std::shared_ptr<const Vocabulary> vocabulary_;

  mutable std::mutex mutex_;  // guards what follows, but for the threads
  std::condition_variable wake_;
  std::deque<Key> queue_;
  std::map<Key, std::vector<Done>> waiting_;  // for those in the queue and those being compiled
  std::list<Entry> cache_;                    // latest first
  std::map<Key, std::list<Entry>::iterator> index_;
  CompilerStats stats_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<DeepThread>> threads_;
};

}  // namespace

std::unique_ptr<Compiler> Compiler::create(MakeVocabulary vocabulary, CompilerOptions options) {
  return std::make_unique<CompilerImpl>(std::move(vocabulary), options);
}

Compiler::Outcome compile_and_wait(Compiler& compiler, GrammarSpec spec) {
  std::promise<Compiler::Outcome> promise;
  compiler.compile(std::move(spec), [&](Compiler::Outcome outcome) { promise.set_value(std::move(outcome)); });
  return promise.get_future().get();
}

}  // namespace graft::grammar
