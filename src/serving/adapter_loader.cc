#include "serving/adapter_loader.h"

#include <exception>
#include <utility>

namespace graft::serving {

AdapterLoader::AdapterLoader(const runtime::StepModel& model, Done done)
    : model_(model), done_(std::move(done)), thread_([this] { run(); }) {}

AdapterLoader::~AdapterLoader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void AdapterLoader::load(uint64_t serial, std::string directory) { push({serial, std::move(directory), {}}); }

void AdapterLoader::destroy(std::vector<std::shared_ptr<const runtime::AdapterWeights>> weights) {
  if (!weights.empty()) push({0, {}, std::move(weights)});
}

void AdapterLoader::push(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void AdapterLoader::run() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (stop_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    if (job.garbage.empty()) done_(job.serial, read(job.directory));
  }
}

LoadedAdapter AdapterLoader::read(const std::string& directory) const {
  try {
    LoadedAdapter loaded = model_.load_adapter(directory);
    if (loaded.ok() && *loaded == nullptr) return internal_error(directory + ": the model returned no adapter");
    return loaded;
  } catch (const std::exception& error) {
    return internal_error(directory + ": loading the adapter failed: " + error.what());
  } catch (...) {
    return internal_error(directory + ": loading the adapter failed");
  }
}

}  // namespace graft::serving
