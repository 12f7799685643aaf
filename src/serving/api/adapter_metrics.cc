#include "serving/api/adapter_metrics.h"

#include <filesystem>
#include <map>

namespace graft::serving::api {
namespace {

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

std::string name_of(const std::string& id, const std::string& directory) {
  if (directory.empty()) return id;
  const std::string prefix = (std::filesystem::path(directory) / "").string();
  return id.starts_with(prefix) ? id.substr(prefix.size()) : id;
}

net::MetricLabels label(const std::string& adapter) { return {{"adapter", adapter}}; }

}  // namespace

void AdapterMetrics::Counts::add(const Counts& more) {
  requests += more.requests;
  prompt_tokens += more.prompt_tokens;
  generated_tokens += more.generated_tokens;
  queued += more.queued;
  inference += more.inference;
}

void AdapterMetrics::finished(const FinishedRequest& request) {
  const Counts counts{1, static_cast<uint64_t>(request.prompt_tokens), static_cast<uint64_t>(request.generated_tokens),
                      request.queued, request.inference};
  const std::lock_guard lock(mutex_);
  if (request.adapter.empty()) return base_.add(counts);
  const auto found = series_.find(request.adapter);
  if (found != series_.end()) {
    order_.splice(order_.begin(), order_, found->second);
  } else {
    order_.emplace_front(request.adapter, Counts{});
    series_[request.adapter] = order_.begin();
  }
  order_.front().second.add(counts);
  if (order_.size() <= max_series_) return;
  other_.add(order_.back().second);
  series_.erase(order_.back().first);
  order_.pop_back();
}

void AdapterMetrics::write(MetricText& text, const std::vector<ResidentAdapter>& residents,
                           const std::string& directory) const {
  const std::lock_guard lock(mutex_);
  const auto counters = [&](const char* name, const char* help, auto value) {
    text.family(name, "counter", help);
    if (base_.requests > 0) text.sample(label(""), value(base_));
    for (const auto& [adapter, counts] : order_) text.sample(label(adapter), value(counts));
    if (other_.requests > 0) text.sample(label("other"), value(other_));
  };
  const auto whole = [](uint64_t n) { return static_cast<double>(n); };
  counters("graft_adapter_requests", "Requests answered, by adapter.", [&](auto& c) { return whole(c.requests); });
  counters("graft_adapter_prompt_tokens", "Prompt tokens, by adapter.",
           [&](auto& c) { return whole(c.prompt_tokens); });
  counters("graft_adapter_generated_tokens", "Generated tokens, by adapter.",
           [&](auto& c) { return whole(c.generated_tokens); });
  counters("graft_adapter_queue_seconds", "Seconds before the first step, by adapter; its load included.",
           [](auto& c) { return seconds(c.queued); });
  counters("graft_adapter_inference_seconds", "Seconds from the first step to the end, by adapter.",
           [](auto& c) { return seconds(c.inference); });

  // Two versions of an adapter can be in memory at once: one series.
  std::map<std::string, ResidentAdapter> by_name;
  for (size_t i = 0; i < residents.size(); ++i) {
    const bool shown = i + max_series_ >= residents.size();  // the last ones were used last
    ResidentAdapter& entry = by_name[shown ? name_of(residents[i].id, directory) : "other"];
    entry.bytes += residents[i].bytes;
    entry.load_time = residents[i].load_time;
  }
  text.family("graft_adapter_resident_bytes", "gauge", "Memory of the adapters that are loaded.");
  for (const auto& [name, entry] : by_name) text.sample(label(name), static_cast<double>(entry.bytes));
  text.family("graft_adapter_load_seconds", "gauge", "How long the last load of an adapter took.");
  for (const auto& [name, entry] : by_name) text.sample(label(name), seconds(entry.load_time));
}

}  // namespace graft::serving::api
