#include "serving/api/testing/fake_engine.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "serving/stop_matcher.h"

namespace graft::serving::api::testing {

struct FakeEngine::Running {
  GenerationRequest request;
  std::shared_ptr<GenerationSink> sink;
  std::vector<int32_t> reply;
  text::IncrementalDetokenizer detokenizer;
  StopMatcher stops;
  GenerationResult result;
  bool cancelled = false;

  Running(GenerationRequest r, std::shared_ptr<GenerationSink> s, std::vector<int32_t> ids, const text::Tokenizer& t)
      : request(std::move(r)), sink(std::move(s)), reply(std::move(ids)), detokenizer(t), stops(request.stop) {}
};

FakeEngine::FakeEngine(std::shared_ptr<const text::Tokenizer> tokenizer, std::string reply, int32_t max_total_tokens)
    : tokenizer_(std::move(tokenizer)), reply_(std::move(reply)) {
  limits_.max_total_tokens = max_total_tokens;
  stats_.total_blocks = 64;
  stats_.free_blocks = 60;
  stats_.block_size = 16;
  thread_ = std::thread([this] { run(); });
}

FakeEngine::~FakeEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

std::vector<int32_t> FakeEngine::reply_of(const GenerationRequest& request) const {
  const std::string prefix = request.adapter.id.empty() ? "" : request.adapter.id + ": ";
  std::vector<int32_t> ids = tokenizer_->encode(prefix + reply_).ids;
  if (!request.sampling.greedy && !ids.empty()) {
    std::rotate(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(request.sampling.seed % ids.size()), ids.end());
  }
  ids.push_back(tokenizer_->token_to_id("<|endoftext|>"));
  return ids;
}

Result<RequestId> FakeEngine::submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) {
  const std::lock_guard lock(mutex_);
  if (overloaded_) return overloaded("the queue is full");
  submitted_.push_back(request);
  auto reply = reply_of(request);
  auto running = std::make_shared<Running>(std::move(request), std::move(sink), std::move(reply), *tokenizer_);
  GenerationResult& result = running->result;
  result.prompt_tokens = static_cast<int32_t>(running->request.prompt.size());
  for (size_t i = 0; running->request.prompt_logprobs && i < running->request.prompt.size(); ++i) {
    const float logprob = i == 0 ? std::numeric_limits<float>::quiet_NaN() : -1.0F - static_cast<float>(i);
    result.prefill.push_back({running->request.prompt[i], logprob});
  }
  result.queued = std::chrono::milliseconds(2);
  result.inference = std::chrono::milliseconds(40);
  result.time_to_first_token = std::chrono::milliseconds(10);
  running_[next_id_] = std::move(running);
  wake_.notify_all();
  return next_id_++;
}

void FakeEngine::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto it = running_.find(id);
  if (it == running_.end()) return;
  it->second->cancelled = true;
  wake_.notify_all();
}

// One token, or the end. false: the request is over.
bool FakeEngine::advance(Running& running) {
  const GenerationRequest& request = running.request;
  GenerationResult& result = running.result;
  if (request.adapter.id.find("missing") != std::string::npos) {
    running.sink->on_error(not_found("adapter " + request.adapter.id + ": no such directory"));
    return false;
  }
  if (request.adapter.id.find("broken") != std::string::npos) {
    running.sink->on_error(invalid("adapter " + request.adapter.id + ": r is missing"));
    return false;
  }
  GeneratedToken token;
  const size_t position = result.tokens.size();
  token.id = running.reply[position % running.reply.size()];
  token.special = tokenizer_->is_special(token.id);
  const uint64_t seed = request.sampling.greedy ? 0 : request.sampling.seed;
  token.logprob = -0.5F - 0.25F * static_cast<float>((position + seed) % 4);
  token.text = running.detokenizer.push(token.id);
  for (int32_t i = 0; i < request.num_alternatives; ++i) {
    const int32_t id = i == 0 ? token.id : (token.id + i) % tokenizer_->vocab_size();
    token.alternatives.push_back({id, token.logprob - static_cast<float>(i)});
  }
  const bool eos = token.special && !request.ignore_eos;
  const bool full = static_cast<int32_t>(position) + 1 >= request.max_new_tokens;
  if (eos || full) token.text += running.detokenizer.finish();
  const auto [size, stopped] = running.stops.push(token.text);
  token.text.resize(size);
  result.text += token.text;
  result.tokens.push_back(token);
  ++stats_.generated_tokens;
  running.sink->on_token(token);
  if (fail_after_ >= 0 && static_cast<int32_t>(result.tokens.size()) >= fail_after_) {
    running.sink->on_error(internal_error("the model produced NaN"));
    return false;
  }
  if (!eos && !full && !stopped) return true;
  result.reason = eos ? FinishReason::kEos : stopped ? FinishReason::kStopSequence : FinishReason::kLength;
  running.sink->on_finish(std::move(result));
  return false;
}

void FakeEngine::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto any_cancelled = [&] {
      return std::any_of(running_.begin(), running_.end(), [](const auto& r) { return r.second->cancelled; });
    };
    wake_.wait(lock, [&] { return stopping_ || any_cancelled() || (!running_.empty() && allowed_ != 0); });
    if (stopping_) break;
    ++stats_.steps;
    for (auto it = running_.begin(); it != running_.end();) {
      bool goes_on = !it->second->cancelled;
      if (!goes_on) {
        ++cancels_;
        it->second->sink->on_error(cancelled("the client went away"));
        cancelled_wake_.notify_all();
      } else if (allowed_ != 0) {
        if (allowed_ > 0) --allowed_;
        goes_on = advance(*it->second);
      }
      it = goes_on ? std::next(it) : running_.erase(it);
    }
  }
  for (auto& [id, running] : running_) running->sink->on_error(cancelled("the engine is stopping"));
  running_.clear();
}

EngineStats FakeEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.running = static_cast<int32_t>(running_.size());
  return stats;
}

bool FakeEngine::healthy() const {
  const std::lock_guard lock(mutex_);
  return healthy_;
}

void FakeEngine::add_adapter(const std::string&, std::shared_ptr<const runtime::AdapterWeights>) {}

void FakeEngine::set_healthy(bool healthy) {
  const std::lock_guard lock(mutex_);
  healthy_ = healthy;
}

void FakeEngine::set_overloaded(bool overloaded) {
  const std::lock_guard lock(mutex_);
  overloaded_ = overloaded;
}

void FakeEngine::allow_tokens(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  allowed_ = tokens;
  wake_.notify_all();
}

void FakeEngine::fail_after(int32_t tokens) {
  const std::lock_guard lock(mutex_);
  fail_after_ = tokens;
}

std::vector<GenerationRequest> FakeEngine::submitted() const {
  const std::lock_guard lock(mutex_);
  return submitted_;
}

GenerationRequest FakeEngine::last() const {
  const std::lock_guard lock(mutex_);
  return submitted_.empty() ? GenerationRequest{} : submitted_.back();
}

size_t FakeEngine::wait_for_cancels(size_t count) {
  std::unique_lock lock(mutex_);
  cancelled_wake_.wait_for(lock, std::chrono::seconds(20), [&] { return cancels_ >= count; });
  return cancels_;
}

size_t FakeEngine::running() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

}  // namespace graft::serving::api::testing
