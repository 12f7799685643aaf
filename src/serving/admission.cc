#include "serving/admission.h"

#include <algorithm>
#include <cmath>

namespace graft::serving {
namespace {

constexpr size_t kDepartures = 64;
constexpr double kShortest = 1;
constexpr double kLongest = 60;

}  // namespace

Admission::Admission(int32_t max_requests, double max_tenant_share)
    : max_requests_(max_requests),
      max_of_tenant_(std::max(1, static_cast<int32_t>(std::ceil(max_tenant_share * max_requests)))) {}

Status Admission::enter(const std::string& tenant) {
  const auto found = of_tenant_.find(tenant);
  const bool tenant_full = !tenant.empty() && found != of_tenant_.end() && found->second >= max_of_tenant_;
  if (requests_ >= max_requests_ || tenant_full) {
    ++refused_;
    return overloaded("Model is overloaded");
  }
  ++requests_;
  ++of_tenant_[tenant];
  return {};
}

void Admission::leave(const std::string& tenant, Clock::time_point now) {
  --requests_;
  if (const auto found = of_tenant_.find(tenant); found != of_tenant_.end() && --found->second == 0) {
    of_tenant_.erase(found);
  }
  departures_.push_back(now);
  if (departures_.size() > kDepartures) departures_.pop_front();
}

std::chrono::seconds Admission::retry_after(Clock::time_point now) const {
  double seconds = kShortest;
  if (departures_.size() > 1) {
    const double time = std::chrono::duration<double>(now - departures_.front()).count();
    seconds = std::ceil(requests_ * time / static_cast<double>(departures_.size() - 1));
  }
  return std::chrono::seconds(static_cast<int64_t>(std::clamp(seconds, kShortest, kLongest)));
}

}  // namespace graft::serving
