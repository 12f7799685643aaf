#include "serving/adapter_pool.h"

#include <algorithm>
#include <string>

namespace graft::serving {
namespace {

bool in_memory(const AdapterEntry& entry) {
  return entry.state == AdapterState::kReady || entry.state == AdapterState::kDraining;
}

bool active(const AdapterEntry& entry) { return entry.state != AdapterState::kQueued; }

// Unambiguous: the lengths stand before the texts.
std::string identity(const AdapterRef& ref) {
  return std::to_string(ref.id.size()) + ":" + std::to_string(ref.source.size()) + ":" + ref.id + ref.source +
         ref.api_token;
}

}  // namespace

template <class Change>
void AdapterPool::update(AdapterEntry& entry, Change change) {
  index(entry, false);
  change();
  index(entry, true);
}

void AdapterPool::index(AdapterEntry& entry, bool present) {
  const auto put = [&](auto& order, auto key) {
    if (present) {
      order.emplace(key, &entry);
    } else {
      order.erase({key, &entry});
    }
  };
  const int32_t one = present ? 1 : -1;
  if (active(entry)) {
    active_ += one;
    active_bytes_ += one * entry.bytes;
  }
  if (in_memory(entry)) loaded_ += one;
  waiting_ += one * static_cast<int32_t>(entry.waiters.size());
  switch (entry.state) {
    case AdapterState::kQueued:
      if (entry.waiters.empty()) {
        put(abandoned_, uint64_t{0});
      } else {
        put(queued_, entry.waiters.begin()->first);
      }
      return;
    case AdapterState::kLoading:
      return;
    case AdapterState::kReady:
      put(ready_, entry.ready_since);
      if (entry.users == 0) put(entry.superseded ? outdated_ : unused_, entry.last_use);
      return;
    case AdapterState::kDraining:
      if (present) {
        draining_.insert(&entry);
      } else {
        draining_.erase(&entry);
      }
  }
}

void AdapterPool::want(Sequence& sequence, const AdapterRef& ref, const AdapterFiles& files) {
  changed_ = true;
  AdapterEntry& entry = find_or_add(ref, files);
  if (entry.state == AdapterState::kReady) {
    use(entry, sequence);
    events_.ready.push_back(&sequence);
  } else {
    wait(entry, sequence);
  }
}

AdapterEntry& AdapterPool::find_or_add(const AdapterRef& ref, const AdapterFiles& files) {
  Versions& versions = entries_[identity(ref)];
  AdapterEntry* found = nullptr;
  for (const auto& entry : versions) {
    const bool superseded = entry->files != files;
    if (superseded != entry->superseded) update(*entry, [&] { entry->superseded = superseded; });
    if (!superseded) found = entry.get();
  }
  if (found != nullptr) return *found;
  auto entry = std::make_unique<AdapterEntry>();
  entry->ref = ref;
  entry->files = files;
  entry->bytes = files.weights.size;
  index(*entry, true);
  return *versions.emplace_back(std::move(entry));
}

void AdapterPool::release(Sequence& sequence) {
  std::erase_if(events_.failed, [&](const auto& failure) { return failure.first == &sequence; });
  std::erase(events_.ready, &sequence);
  if (sequence.adapter == nullptr) return;
  changed_ = true;
  AdapterEntry& entry = *sequence.adapter;
  update(entry, [&] {
    if (entry.waiters.erase(sequence.arrival) == 0) --entry.users;
    entry.last_use = ++clock_;
  });
  sequence.adapter = nullptr;
  sequence.weights = nullptr;
}

void AdapterPool::finish_load(uint64_t serial, Result<std::shared_ptr<const runtime::AdapterWeights>> outcome,
                              Clock::time_point now) {
  const auto place = loading_.find(serial);
  if (place == loading_.end()) return;
  changed_ = true;
  AdapterEntry& entry = *place->second;
  loading_.erase(place);
  if (outcome.ok()) {
    update(entry, [&] { entry.bytes = (*outcome)->bytes(); });
    if (limits_.memory_bytes > 0 && entry.bytes > limits_.memory_bytes) outcome = too_large(entry);
  }
  if (!outcome.ok()) {
    for (const auto& [arrival, sequence] : entry.waiters) {
      sequence->adapter = nullptr;
      events_.failed.emplace_back(sequence, outcome.error());
    }
    forget(entry);
    return;
  }
  ++loads_;
  ++changes_;
  update(entry, [&] {
    entry.weights = std::move(outcome).value();
    entry.state = AdapterState::kReady;
    entry.ready_since = now;
    entry.last_use = ++clock_;
  });
  hand_out(entry);
  trim();
}

AdapterPool::Events AdapterPool::advance(Clock::time_point now) {
  if (!changed_ && !blocked_) return {};
  changed_ = false;
  while (!outdated_.empty()) drop(*outdated_.begin()->second);
  unload_drained();
  while (!abandoned_.empty()) forget(*abandoned_.begin()->second);
  load_queued(now);
  blocked_ = !queued_.empty();
  if (!blocked_) resume_drained();
  return std::exchange(events_, {});
}

void AdapterPool::load_queued(Clock::time_point now) {
  while (!queued_.empty()) {
    AdapterEntry& entry = *queued_.begin()->second;
    entry.serial = ++serials_;
    loading_[entry.serial] = &entry;
    if (limits_.memory_bytes > 0 && entry.bytes > limits_.memory_bytes) {
      finish_load(entry.serial, too_large(entry));
      continue;
    }
    while (!fits(entry) && unload_unused()) {
    }
    if (!fits(entry)) {
      loading_.erase(entry.serial);
      return choose_drain(now, entry.waiters.begin()->first);
    }
    update(entry, [&] {
      entry.state = AdapterState::kLoading;
      entry.load_began = now;
    });
    events_.load.push_back(&entry);
  }
}

Error AdapterPool::too_large(const AdapterEntry& entry) const {
  return invalid("adapter '" + entry.ref.id + "' takes " + std::to_string(entry.bytes) +
                 " bytes, more than the adapter memory of " + std::to_string(limits_.memory_bytes) +
                 " bytes: raise it or use a lower rank");
}

void AdapterPool::take_back(Sequence& sequence) {
  changed_ = true;
  AdapterEntry& entry = *sequence.adapter;
  update(entry, [&] { --entry.users; });
  sequence.weights = nullptr;
  wait(entry, sequence);
}

std::vector<const AdapterEntry*> AdapterPool::residents() const {
  std::vector<const AdapterEntry*> found;
  for (const auto& [since, entry] : ready_) found.push_back(entry);
  found.insert(found.end(), draining_.begin(), draining_.end());
  std::ranges::sort(found, {}, [](const AdapterEntry* entry) { return entry->last_use; });
  return found;
}

bool AdapterPool::fits(const AdapterEntry& wanted) const {
  return active_ + 1 <= limits_.max_active &&
         (limits_.memory_bytes == 0 || active_bytes_ + wanted.bytes <= limits_.memory_bytes);
}

bool AdapterPool::unload_unused() {
  if (unused_.empty()) return false;
  drop(*unused_.begin()->second);
  return true;
}

// Gives the weights up. Those that wait for it start over in the queue.
void AdapterPool::drop(AdapterEntry& entry) {
  ++changes_;
  ++evictions_;
  update(entry, [&] {
    events_.unloaded.push_back(std::exchange(entry.weights, nullptr));
    entry.state = AdapterState::kQueued;
  });
}

void AdapterPool::forget(AdapterEntry& entry) {
  index(entry, false);
  const auto place = entries_.find(identity(entry.ref));
  std::erase_if(place->second, [&](const auto& version) { return version.get() == &entry; });
  if (place->second.empty()) entries_.erase(place);
}

void AdapterPool::unload_drained() {
  for (auto next = draining_.begin(); next != draining_.end();) {
    AdapterEntry& entry = **next++;
    if (entry.users == 0) drop(entry);
  }
}

void AdapterPool::resume_drained() {
  while (!draining_.empty()) {
    AdapterEntry& entry = **draining_.begin();
    update(entry, [&] { entry.state = AdapterState::kReady; });
    hand_out(entry);
  }
}

void AdapterPool::choose_drain(Clock::time_point now, uint64_t after) {
  if (!draining_.empty() || ready_.empty()) return;  // one after the other
  AdapterEntry& chosen = *ready_.begin()->second;
  if (now - chosen.ready_since < limits_.cycle) return;
  update(chosen, [&] { chosen.state = AdapterState::kDraining; });
  events_.drain = &chosen;
  events_.drain_after = after;
}

void AdapterPool::hand_out(AdapterEntry& entry) {
  std::map<uint64_t, Sequence*> waiters;
  update(entry, [&] { waiters = std::exchange(entry.waiters, {}); });
  for (const auto& [arrival, sequence] : waiters) {
    use(entry, *sequence);
    events_.ready.push_back(sequence);
  }
}

void AdapterPool::use(AdapterEntry& entry, Sequence& sequence) {
  update(entry, [&] {
    ++entry.users;
    entry.last_use = ++clock_;
  });
  sequence.adapter = &entry;
  sequence.weights = entry.weights;
  sequence.scope.adapter = entry.serial;
}

void AdapterPool::wait(AdapterEntry& entry, Sequence& sequence) {
  sequence.adapter = &entry;
  update(entry, [&] { entry.waiters.emplace(sequence.arrival, &sequence); });
}

// An adapter can turn out larger than its file.
void AdapterPool::trim() {
  while (limits_.memory_bytes > 0 && active_bytes_ > limits_.memory_bytes && unload_unused()) {
  }
}

}  // namespace graft::serving
