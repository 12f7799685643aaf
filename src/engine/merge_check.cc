#include "engine/merge_check.h"

#include <algorithm>
#include <array>

#include "base/files.h"
#include "engine/loaded_model.h"
#include "formats/model_source.h"
#include "model/prepare.h"
#include "model/weights.h"
#include "runtime/executor/executor.h"
#include "serving/api/certificate.h"

namespace graft::engine {

namespace {

using Texts = std::vector<std::vector<int32_t>>;

constexpr size_t kMostTexts = 16;
constexpr int64_t kLongestText = 512;

constexpr std::array kPrompts = {
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "Water boils at 100 degrees Celsius at sea level; in the mountains it boils earlier, because",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n",
    "{\"name\": \"Ada\", \"born\": 1815, \"languages\": [\"English\", \"French\"]}",
    "Dear customer, thank you for your order. It was sent today and should arrive on",
    "Question: What is 12 times 12?\nAnswer: 144\nQuestion: What is 7 times 8?\nAnswer:",
};

// Of certificate.json. It only chooses what is asked: whatever is wrong with it is no error.
Texts certified_texts(const fs::path& adapter, int64_t vocab_size) {
  Texts texts;
  const auto certificate = serving::api::read_certificate(adapter);
  if (!certificate.ok()) return texts;
  for (const auto& example : certificate->examples) {
    const auto known = [&](int32_t token) { return token >= 0 && token < vocab_size; };
    if (std::all_of(example.tokens.begin(), example.tokens.end(), known)) texts.push_back(example.tokens);
  }
  return texts;
}

Texts texts_of(const MergeCheck& check, const LoadedModel& base) {
  Texts texts;
  if (!check.prompts) texts = certified_texts(check.adapter, base.decoder->spec().vocab_size);
  if (texts.empty()) {
    const std::vector<std::string> prompts =
        check.prompts.value_or(std::vector<std::string>(kPrompts.begin(), kPrompts.end()));
    for (const std::string& prompt : prompts) texts.push_back(base.tokenizer->encode(prompt).ids);
  }
  texts.resize(std::min(texts.size(), kMostTexts));
  return texts;
}

// The decoder over a Hugging Face directory that is not in the store; `folder` holds its prepared weights as long as it
// lives.
Result<std::shared_ptr<const model::Decoder>> open_decoder(const fs::path& directory, model::WeightDType dtype,
                                                           const fs::path& folder) {
  GRAFT_TRY(const auto source, formats::ModelSource::open(directory));
  const auto read = [&](const std::string& name) { return source->read(name); };
  const fs::path file = folder / "weights.safetensors";
  GRAFT_CHECK_OK(model::prepare_weights(source->spec(), read, dtype, file));
  GRAFT_TRY(model::Weights weights, model::open_prepared(file, source->spec()));
  GRAFT_TRY(model::Decoder decoder, model::Decoder::create(source->spec(), std::move(weights)));
  return std::make_shared<const model::Decoder>(std::move(decoder));
}

}  // namespace

Result<std::vector<std::string>> read_prompts(const std::filesystem::path& file) {
  GRAFT_TRY(const std::string text, read_file(file));
  std::vector<std::string> prompts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) prompts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (prompts.empty()) return invalid(file.string() + ": holds no prompt; write one a line");
  return prompts;
}

Result<runtime::Divergence> check_merge(const MergeCheck& check) {
  const std::string dtype = check.dtype == "bfloat16" ? "bfloat16" : "float32";
  GRAFT_TRY(const LoadedModel base, load_model(check.model, check.base_dtype.empty() ? dtype : check.base_dtype));
  GRAFT_TRY(const auto unmerged, runtime::make_executor(base.decoder, {kLongestText}));
  GRAFT_TRY(const auto adapter, unmerged->load_adapter(check.adapter.string()));
  GRAFT_TRY(const fs::path home, graft_home());
  GRAFT_TRY(const AtomicDirectory folder, AtomicDirectory::create(home / "cache" / "merge-check"));
  const auto stored = dtype == "bfloat16" ? model::WeightDType::kBFloat16 : model::WeightDType::kFloat32;
  GRAFT_TRY(const auto decoder, open_decoder(check.merged, stored, folder.path()));
  GRAFT_TRY(const auto merged, runtime::make_executor(decoder, {kLongestText}));
  return runtime::measure_divergence({unmerged.get(), adapter.get()}, {merged.get(), nullptr}, texts_of(check, base));
}

}  // namespace graft::engine
