#pragma once

namespace graft::serving {

// In which order sequences start; see SchedulingPolicy.
enum class Scheduling {
  kFair,  // between tenants, and between the adapters of a tenant
  kFirstComeFirstServed,
};

}  // namespace graft::serving
