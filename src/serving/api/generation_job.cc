#include "serving/api/generation_job.h"

#include <utility>

namespace graft::serving::api {

class GenerationJob::Sink : public GenerationSink {
 public:
  Sink(std::shared_ptr<GenerationJob> job, size_t sequence)
      : job_(std::move(job)), sequence_(sequence), streaming_(job_->streaming_) {}

  void on_token(const GeneratedToken& token) override {
    if (!streaming_) return;
    job_->queue_->post([job = job_, sequence = sequence_, token] {
      if (!job->over_) job->events_.on_token(sequence, token);
    });
  }

  void on_finish(GenerationResult result) override {
    auto shared = std::make_shared<GenerationResult>(std::move(result));
    job_->queue_->post([job = job_, sequence = sequence_, shared] { job->finished(sequence, std::move(*shared)); });
  }

  void on_error(Error error) override {
    job_->queue_->post([job = job_, problem = from_generation(error)] { job->failed(problem); });
  }

 private:
  std::shared_ptr<GenerationJob> job_;
  size_t sequence_;
  bool streaming_;
};

GenerationJob::GenerationJob(ContextPtr context, Events events)
    : context_(std::move(context)),
      queue_(net::SerialQueue::create(context_->workers)),
      streaming_(static_cast<bool>(events.on_token)),
      events_(std::move(events)) {}

std::shared_ptr<GenerationJob> GenerationJob::create(ContextPtr context, Events events) {
  return std::shared_ptr<GenerationJob>(new GenerationJob(std::move(context), std::move(events)));
}

void GenerationJob::submit(std::vector<GenerationRequest> requests, const net::ResponseWriter& writer,
                           const std::optional<AdapterMerge>& merge) {
  results_.resize(requests.size());
  open_ = requests.size();
  for (const auto& request : requests) grammars_.push_back(request.grammar);
  const AdapterRef& adapter = requests.front().adapter;
  if (!merge && context_->resolver->is_ready(adapter)) {
    submit_all(std::move(requests));
  } else {
    prepared_ = std::move(requests);
    const auto done = [self = shared_from_this()](const ApiResult<ResolvedAdapter>& outcome) {
      self->queue_->post([self, outcome] { self->resolved(outcome); });
    };
    if (merge) {
      context_->resolver->resolve(*merge, done);
    } else {
      context_->resolver->resolve(AdapterRef(prepared_.front().adapter), done);
    }
  }
  writer.on_disconnect([weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->cancel();
  });
}

void GenerationJob::submit_all(std::vector<GenerationRequest> requests) {
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!submit_one(i, std::move(requests[i]))) break;
  }
}

// The time that it took counts against the request's.
void GenerationJob::resolved(const ApiResult<ResolvedAdapter>& outcome) {
  if (!outcome.ok()) return failed(outcome.error());
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return failed({Failure::kIncomplete, "the request was cancelled", {}, {}});
  }
  lease_ = outcome.value().lease;
  const auto spent = Clock::now() - began_;
  for (GenerationRequest& request : prepared_) {
    request.adapter = outcome.value().ref;
    if (request.max_time.count() == 0) continue;
    if (request.max_time <= spent) {
      return failed({Failure::kTimeout, "its time was up before its adapter was there", {}, {}});
    }
    request.max_time -= spent;
  }
  submit_all(std::exchange(prepared_, {}));
}

// false: there is no use in submitting more.
bool GenerationJob::submit_one(size_t sequence, GenerationRequest request) {
  const auto id = context_->engine->submit(std::move(request), std::make_shared<Sink>(shared_from_this(), sequence));
  if (!id.ok()) {
    ApiError problem = from_submit(id.error());
    if (problem.failure == Failure::kOverloaded) problem.retry_after = context_->engine->retry_after();
    queue_->post([self = shared_from_this(), problem] { self->failed(problem); });
    return false;
  }
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    ids_.push_back(id.value());
    late = cancelled_;
  }
  if (late) context_->engine->cancel(id.value());
  return !late;
}

void GenerationJob::cancel() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ids.swap(ids_);
  }
  for (const RequestId id : ids) context_->engine->cancel(id);
}

void GenerationJob::finished(size_t sequence, GenerationResult result) {
  if (over_) return;
  if (result.reason == FinishReason::kDeadline && result.tokens.empty()) {
    return failed({Failure::kTimeout, "its time was up before the first token", {}, {}});
  }
  if (const auto& grammar = grammars_[sequence]; grammar != nullptr && result.reason == FinishReason::kEos) {
    const Status fits = grammar->validate(result.text);
    if (!fits.ok()) return failed({Failure::kGeneration, fits.error().message, {}, {}});
  }
  results_[sequence] = std::move(result);
  if (events_.on_finish) events_.on_finish(sequence, results_[sequence]);
  if (--open_ > 0) return;
  over_ = true;
  const Events events = std::exchange(events_, {});
  events.on_done(std::move(results_));
}

void GenerationJob::failed(const ApiError& error) {
  if (over_) return;
  over_ = true;
  const Events events = std::exchange(events_, {});
  cancel();
  events.on_error(error);
}

}  // namespace graft::serving::api
