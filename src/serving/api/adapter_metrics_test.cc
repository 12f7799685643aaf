#include "serving/api/adapter_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string written(const AdapterMetrics& metrics, const std::vector<ResidentAdapter>& residents = {}) {
  MetricText text;
  metrics.write(text, residents, "/adapters");
  return text.take();
}

TEST(AdapterMetrics, TheLastUsedOnesHaveSeriesAndTheOthersTheirSum) {
  AdapterMetrics metrics(2);
  for (const char* adapter : {"a", "b", "a", "", "c", "d", "a"}) {
    metrics.finished({adapter, 10, 3, {}, {}, std::chrono::milliseconds(500), std::chrono::milliseconds(250)});
  }
  const std::string text = written(metrics);
  EXPECT_THAT(text, HasSubstr("graft_adapter_requests{adapter=\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_requests{adapter=\"a\"} 1\n"));  // it had left, and begins again
  EXPECT_THAT(text, HasSubstr("graft_adapter_requests{adapter=\"d\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_requests{adapter=\"other\"} 4\n"));  // a twice, b, c
  EXPECT_THAT(text, HasSubstr("graft_adapter_prompt_tokens{adapter=\"other\"} 40\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_generated_tokens{adapter=\"other\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_queue_seconds{adapter=\"other\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_inference_seconds{adapter=\"d\"} 0.25\n"));
  EXPECT_THAT(text, Not(HasSubstr("adapter=\"b\"")));
}

TEST(AdapterMetrics, ResidentAdaptersGoByTheirNames) {
  const AdapterMetrics metrics(2);
  const std::string text = written(metrics, {{"/adapters/old", 5, {}},
                                             {"/adapters/x", 10, std::chrono::milliseconds(20)},
                                             {"/adapters/x", 10, std::chrono::milliseconds(40)}});
  EXPECT_THAT(text, HasSubstr("graft_adapter_resident_bytes{adapter=\"x\"} 20\n"));  // two versions
  EXPECT_THAT(text, HasSubstr("graft_adapter_resident_bytes{adapter=\"other\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("graft_adapter_load_seconds{adapter=\"x\"} 0.04\n"));
}

TEST(MetricText, NamesAreEscaped) {
  MetricText text;
  text.family("m", "gauge", "help");
  text.sample({{"a", "quote\" back\\ line\n"}, {"b", "\xE2\x82\xAC"}}, 1.5);
  EXPECT_EQ(text.take(), "# HELP m help\n# TYPE m gauge\nm{a=\"quote\\\" back\\\\ line\\n\",b=\"\xE2\x82\xAC\"} 1.5\n");
}

}  // namespace
}  // namespace graft::serving::api
