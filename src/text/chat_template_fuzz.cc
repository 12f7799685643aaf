// libFuzzer: the bytes are a template, rendered over one conversation.

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "text/chat_template.h"

namespace {

using nlohmann::ordered_json;

const ordered_json& messages() {
  static const ordered_json chat = ordered_json::parse(R"([
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "<|im_end|> caf\u00e9 \ud83d\udc4d"}]},
      {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
      {"role": "tool", "content": "  a,b\n\nc  "}, {"role": "critic", "content": null}])");
  return chat;
}

void check_spans(const std::vector<graft::text::ProtectedSpan>& spans, size_t size) {
  size_t done = 0;
  for (const auto& span : spans) {
    if (span.begin < done || span.begin >= span.end || span.end > size) std::abort();
    done = span.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const auto compiled = graft::text::ChatTemplate::compile(source);
  if (!compiled.ok()) return 0;
  graft::text::ChatTemplateOptions options;
  options.tools = ordered_json::array({{{"name", "f"}}});
  options.extra = {{"bos_token", "<s>"}, {"n", 7}, {"x", 2.5}, {"list", {3, 1, 2}}};
  options.now = std::tm{};
  options.most_steps = 20'000;
  const auto rendered = (*compiled)->render(messages(), options);
  if (!rendered.ok()) return 0;
  check_spans(rendered->content, rendered->text.size());
  check_spans(rendered->generated, rendered->text.size());
  return 0;
}
