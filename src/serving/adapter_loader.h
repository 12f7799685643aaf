#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "runtime/step_model.h"

namespace graft::serving {

using LoadedAdapter = Result<std::shared_ptr<const runtime::AdapterWeights>>;

// A thread that reads adapters, in the order of the requests. Exceptions of the model become errors.
class AdapterLoader {
 public:
  using Done = std::function<void(uint64_t serial, LoadedAdapter outcome)>;  // called on the loader's thread

  AdapterLoader(const runtime::StepModel& model, Done done);
  ~AdapterLoader();  // finishes the load in progress and forgets the others
  AdapterLoader(const AdapterLoader&) = delete;
  AdapterLoader& operator=(const AdapterLoader&) = delete;

  void load(uint64_t serial, std::string directory);
  void destroy(std::vector<std::shared_ptr<const runtime::AdapterWeights>> weights);  // on the loader's thread

 private:
  struct Job {
    uint64_t serial = 0;
    std::string directory;
    std::vector<std::shared_ptr<const runtime::AdapterWeights>> garbage;  // not empty: only drop these
  };
  void push(Job job);
  void run();
  LoadedAdapter read(const std::string& directory) const;

  const runtime::StepModel& model_;
  Done done_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace graft::serving
