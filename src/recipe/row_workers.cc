#include "recipe/row_workers.h"

#include <algorithm>
#include <utility>

namespace graft::recipe {
namespace {

constexpr size_t kChunkRows = 64;
constexpr size_t kChunkBytes = size_t{256} << 10;
constexpr int32_t kMostThreads = 32;

// Roughly, without writing it out.
size_t bytes_of(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().size();
  size_t bytes = 16;
  if (value.is_structured()) {
    for (const auto& item : value) bytes += 16 + bytes_of(item);
  }
  return bytes;
}

}  // namespace

RowWorkers::RowWorkers(const RowPipeline& pipeline, int32_t threads, Take take)
    : pipeline_(pipeline), take_(std::move(take)) {
  const auto cores = static_cast<int32_t>(std::thread::hardware_concurrency());
  const int32_t count = std::clamp(threads > 0 ? threads : cores, 1, kMostThreads);
  most_waiting_ = static_cast<size_t>(2 * count + 1);
  for (int32_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

RowWorkers::~RowWorkers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RowWorkers::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Chunk* chunk = queue_.front();
    queue_.pop_front();
    lock.unlock();
    chunk->encoded.reserve(chunk->rows.size());
    for (formats::DatasetRow& row : chunk->rows) chunk->encoded.push_back(pipeline_.encode(row));
    chunk->rows.clear();
    lock.lock();
    chunk->done = true;
    changed_.notify_all();
  }
}

Status RowWorkers::add(formats::DatasetRow row) {
  open_->bytes += bytes_of(row.columns);
  open_->rows.push_back(std::move(row));
  if (open_->rows.size() < kChunkRows && open_->bytes < kChunkBytes) return {};
  submit();
  if (waiting_.size() < most_waiting_) return {};
  return take_first();
}

void RowWorkers::submit() {
  waiting_.push_back(std::exchange(open_, std::make_unique<Chunk>()));
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(waiting_.back().get());
  }
  changed_.notify_all();
}

Status RowWorkers::take_first() {
  Chunk* chunk = waiting_.front().get();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return chunk->done; });
  }
  for (EncodedRow& row : chunk->encoded) GRAFT_CHECK_OK(take_(std::move(row)));
  waiting_.pop_front();
  return {};
}

Status RowWorkers::finish() {
  if (!open_->rows.empty()) submit();
  while (!waiting_.empty()) GRAFT_CHECK_OK(take_first());
  return {};
}

}  // namespace graft::recipe
