#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
template <typename T>
class Family;
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace graft::net {

using MetricLabels = std::map<std::string, std::string>;

// Handles into a MetricsRegistry, as cheap to copy as a pointer, usable from any thread while the registry lives.
class CounterMetric {
 public:
  void add(double by = 1, const MetricLabels& labels = {}) const;

 private:
  friend class MetricsRegistry;
  explicit CounterMetric(prometheus::Family<prometheus::Counter>* family) : family_(family) {}
  prometheus::Family<prometheus::Counter>* family_;
};

class GaugeMetric {
 public:
  void set(double value, const MetricLabels& labels = {}) const;

 private:
  friend class MetricsRegistry;
  explicit GaugeMetric(prometheus::Family<prometheus::Gauge>* family) : family_(family) {}
  prometheus::Family<prometheus::Gauge>* family_;
};

class HistogramMetric {
 public:
  void observe(double value, const MetricLabels& labels = {}) const;

 private:
  friend class MetricsRegistry;
  HistogramMetric(prometheus::Family<prometheus::Histogram>* family, std::vector<double> bounds)
      : family_(family), bounds_(std::move(bounds)) {}
  prometheus::Family<prometheus::Histogram>* family_;
  std::vector<double> bounds_;
};

// Prometheus metrics over prometheus-cpp. Names follow Prometheus' rules ([a-zA-Z_:][a-zA-Z0-9_:]*); each name is
// registered once.
class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();

  CounterMetric counter(const std::string& name, const std::string& help);
  GaugeMetric gauge(const std::string& name, const std::string& help);
  HistogramMetric histogram(const std::string& name, const std::string& help, std::vector<double> bucket_bounds);

  [[nodiscard]] std::string expose() const;  // the text format, version 0.0.4
  static std::string_view content_type();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Keeps the number of series a label can make bounded: the first `max_values` values pass, all others become "other".
class LabelLimiter {
 public:
  explicit LabelLimiter(size_t max_values) : max_values_(max_values) {}
  std::string admit(const std::string& value);

 private:
  size_t max_values_;
  std::mutex mutex_;
  std::set<std::string> values_;
};

}  // namespace graft::net
