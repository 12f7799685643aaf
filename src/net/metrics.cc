#include "net/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <utility>

namespace graft::net {

struct MetricsRegistry::Impl {
  prometheus::Registry registry;
};

void CounterMetric::add(double by, const MetricLabels& labels) const { family_->Add(labels).Increment(by); }
void GaugeMetric::set(double value, const MetricLabels& labels) const { family_->Add(labels).Set(value); }
void HistogramMetric::observe(double value, const MetricLabels& labels) const {
  family_->Add(labels, bounds_).Observe(value);
}

MetricsRegistry::MetricsRegistry() : impl_(std::make_unique<Impl>()) {}
MetricsRegistry::~MetricsRegistry() = default;

CounterMetric MetricsRegistry::counter(const std::string& name, const std::string& help) {
  return CounterMetric(&prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry));
}

GaugeMetric MetricsRegistry::gauge(const std::string& name, const std::string& help) {
  return GaugeMetric(&prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry));
}

HistogramMetric MetricsRegistry::histogram(const std::string& name, const std::string& help,
                                           std::vector<double> bucket_bounds) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
  return {&family, std::move(bucket_bounds)};
}

std::string MetricsRegistry::expose() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

std::string_view MetricsRegistry::content_type() { return "text/plain; version=0.0.4; charset=utf-8"; }

std::string LabelLimiter::admit(const std::string& value) {
  const std::lock_guard lock(mutex_);
  if (values_.contains(value)) return value;
  if (values_.size() >= max_values_) return "other";
  values_.insert(value);
  return value;
}

}  // namespace graft::net
