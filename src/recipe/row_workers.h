#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "recipe/encode_row.h"

namespace graft::recipe {

// Encodes rows on several threads. Outcomes come back in the order of the rows on the caller's thread, so that nothing
// depends on how many threads there are. Memory holds a few chunks of rows for each thread.
class RowWorkers {
 public:
  using Take = std::function<Status(EncodedRow)>;

  // `pipeline` outlives it. `threads`: 0: as many as the machine has cores.
  RowWorkers(const RowPipeline& pipeline, int32_t threads, Take take);
  ~RowWorkers();
  RowWorkers(const RowWorkers&) = delete;
  RowWorkers& operator=(const RowWorkers&) = delete;

  // Errors are those of `take`. After one, stop.
  Status add(formats::DatasetRow row);
  Status finish();

 private:
  struct Chunk {
    std::vector<formats::DatasetRow> rows;
    size_t bytes = 0;
    std::vector<EncodedRow> encoded;
    bool done = false;
  };

  void work();
  void submit();
  Status take_first();

  const RowPipeline& pipeline_;
  Take take_;
  size_t most_waiting_;
  std::unique_ptr<Chunk> open_ = std::make_unique<Chunk>();
  std::deque<std::unique_ptr<Chunk>> waiting_;  // in the order of the rows; of the caller's thread

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk*> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace graft::recipe
