#include "training/model_card.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/progress.h"
#include "base/strings.h"
#include "training/verb.h"

namespace graft::training {
namespace {

// A JSON string is a quoted YAML one.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// NAME or ORG/NAME; a path of this machine is of no use to others, and hubs refuse it.
bool may_be_hub_id(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  const bool characters = std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '/'; });
  const bool edges = !name.empty() && plain(name.front()) && name.front() != '.' && plain(name.back());
  return characters && edges && std::count(name.begin(), name.end(), '/') <= 1;
}

std::string base_name(const FinishedRun& run) {
  const fs::path name(run.base.name);
  return may_be_hub_id(run.base.name) ? run.base.name : name.filename().string();
}

std::string title(const FinishedRun& run) {
  return base_name(run) + " fine-tuned on " + fs::path(run.dataset).filename().string();
}

std::optional<double> kept_loss(const FinishedRun& run, const History& history) {
  for (const HistoryEvaluation& one : history.evaluations) {
    if (one.step == run.kept_step) return one.loss;
  }
  return std::nullopt;
}

bool classifies(const FinishedRun& run) { return !run.data.session.labels.empty(); }

std::string header(const FinishedRun& run, const RunResult& result) {
  std::string yaml = "---\n";
  const bool full = recipe::trains_all_weights(run.config.adapter);
  std::string tags = full ? "tags:\n- graft\n" : "tags:\n- graft\n- lora\n";
  if (may_be_hub_id(run.base.name)) {
    yaml += "base_model: " + quoted(run.base.name) + "\n";
    tags += "- " + quoted((full ? "base_model:finetune:" : "base_model:adapter:") + run.base.name) + "\n";
  }
  const std::string task = classifies(run) ? "text-classification" : "text-generation";
  yaml += std::string("library_name: ") + (full ? "transformers" : "peft") + "\npipeline_tag: " + task + "\n" + tags;
  if (const auto loss = kept_loss(run, result.history)) {
    yaml += fmt::format(
        "model-index:\n- name: {}\n  results:\n  - task:\n      type: {}\n    dataset:\n      name: {}\n"
        "      type: custom\n    metrics:\n    - type: loss\n      name: validation loss\n      value: {:.6g}\n",
        quoted(title(run)), task, quoted(fs::path(run.dataset).filename().string()), *loss);
  }
  return yaml + "---\n";
}

// Text of one line in which Markdown sees nothing of its own.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : printable(text, 400)) {
    if (std::string_view("\\`*_[]<>|#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string table(const NamedValues& values) {
  std::string text = "| | |\n|---|---|\n";
  for (const auto& [name, value] : values) text += fmt::format("| {} | {} |\n", plain(name), plain(value));
  return text;
}

// A block that its content cannot end.
std::string code_block(const std::string& language, const std::string& content) {
  size_t longest = 2;
  size_t run = 0;
  for (const char c : content) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fence + language + "\n" + content + (content.ends_with('\n') ? "" : "\n") + fence + "\n";
}

NamedValues results(const FinishedRun& run, const RunResult& result) {
  NamedValues values;
  const History& history = result.history;
  if (result.confusion) {
    values.emplace_back("accuracy on the validation rows", fmt::format("{:.4f}", result.confusion->accuracy()));
    values.emplace_back("macro F1", fmt::format("{:.4f}", result.confusion->macro_f1()));
  }
  if (!history.evaluations.empty()) {
    values.emplace_back("validation loss before training", fmt::format("{:.4f}", history.evaluations.front().loss));
  }
  if (const auto loss = kept_loss(run, history)) {
    values.emplace_back(recipe::trains_all_weights(run.config.adapter) ? "validation loss of this model"
                                                                       : "validation loss of this adapter",
                        fmt::format("{:.4f} (step {})", *loss, run.kept_step));
  }
  if (!history.steps.empty()) {
    values.emplace_back("training loss, first and last step",
                        fmt::format("{:.4f}, {:.4f}", history.steps.front().loss, history.steps.back().loss));
  }
  values.emplace_back("tokens trained on", format_count(run.state.tokens));
  values.emplace_back("time",
                      fmt::format("{}, {:.0f} tokens/s", format_duration(run.state.seconds), result.tokens_per_second));
  return values;
}

NamedValues adapter_settings(const FinishedRun& run) {
  const recipe::AdapterConfig& adapter = run.config.adapter;
  if (recipe::trains_all_weights(adapter)) return {{"trained", "all weights"}};
  return {{"adapter", fmt::format("{}{}, rank {}, alpha {:g}, dropout {:g}", adapter.type,
                                  std::string(adapter.use_dora ? " (DoRA)" : "") +
                                      (adapter.use_rslora ? " (rank-stabilised)" : ""),
                                  adapter.r, adapter.alpha.value_or(0), adapter.dropout)},
          {"target modules", fmt::format("{}", fmt::join(adapter.target_modules, ", "))}};
}

NamedValues settings(const FinishedRun& run, int64_t trainable) {
  const recipe::TrainerConfig& trainer = run.config.trainer;
  NamedValues values = {{"base model", fmt::format("{}, {}", base_name(run), run.base.dtype)},
                        {"SHA-256 of the base model", run.base.digest}};
  for (auto& value : adapter_settings(run)) values.push_back(std::move(value));
  const NamedValues more = {
      {"trainable parameters", format_count(trainable)},
      {"steps", fmt::format("{} ({:.2f} epochs)", run.state.step, run.state.epoch)},
      {"a step", trainer.max_batch_tokens ? fmt::format("about {} tokens", *trainer.max_batch_tokens)
                                          : fmt::format("{} rows", trainer.effective_batch_size.value_or(0))},
      {"learning rate",
       fmt::format("{:g}, {}", trainer.learning_rate, trainer.learning_rate_scheduler.decay.value_or("constant"))},
      {"optimizer", trainer.optimizer.type},
      {"random seed", std::to_string(run.config.random_seed)}};
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

NamedValues data(const FinishedRun& run) {
  NamedValues values = {{"file", fs::path(run.dataset).filename().string()}, {"SHA-256", run.data.dataset_sha256}};
  for (const auto& [name, value] : run.data.counts) {
    if (name != "file" && value.find('/') == std::string::npos) values.emplace_back(name, value);
  }
  return values;
}

// Of a classifier; the class that a prompt has.
std::string classifier_usage(const FinishedRun& run) {
  const std::string name = base_name(run);
  std::string text = "## Use\n\nWith graft, which serves any number of adapters on one base model:\n\n";
  text += code_block("sh", "graft serve --model " + shell_command({name}) +
                               " --port 8080\ncurl http://127.0.0.1:8080/classify \\\n"
                               "  -d '{\"inputs\": \"...\", \"parameters\": {\"adapter_id\": \"THIS_DIRECTORY\"}}'\n");
  text += "\nWith PEFT; `config.json` here names the classes:\n\n";
  text += code_block("python",
                     fmt::format("import peft, transformers\n\n"
                                 "base = transformers.AutoModelForSequenceClassification.from_pretrained({}, "
                                 "num_labels={})\nmodel = peft.PeftModel.from_pretrained(base, \"THIS_DIRECTORY\")\n",
                                 quoted(name), run.data.session.labels.size()));
  if (run.config.prompt.template_text) {
    text +=
        "\nThe texts that it was trained on have this form:\n\n" + code_block("text", *run.config.prompt.template_text);
  }
  return text;
}

std::string prompt_form(const FinishedRun& run) {
  if (!run.config.prompt.template_text) return "";
  return "\nThe prompts that it was trained on have this form:\n\n" +
         code_block("text", *run.config.prompt.template_text);
}

std::string model_usage(const FinishedRun& run) {
  std::string text = "## Use\n\nWith graft:\n\n";
  text += code_block("sh",
                     "graft serve --model THIS_DIRECTORY --port 8080\ncurl http://127.0.0.1:8080/generate \\\n"
                     "  -d '{\"inputs\": \"...\"}'\n");
  text += "\nWith transformers:\n\n";
  text += code_block("python",
                     "import transformers\n\n"
                     "model = transformers.AutoModelForCausalLM.from_pretrained(\"THIS_DIRECTORY\")\n");
  return text + prompt_form(run);
}

std::string usage(const FinishedRun& run) {
  const std::string name = base_name(run);
  const std::string model = shell_command({name});
  std::string text = "## Use\n\nWith graft, which serves any number of adapters on one base model:\n\n";
  text += code_block("sh", "graft serve --model " + model +
                               " --port 8080\ncurl http://127.0.0.1:8080/generate \\\n"
                               "  -d '{\"inputs\": \"...\", \"parameters\": {\"adapter_id\": \"THIS_DIRECTORY\"}}'\n");
  text += "\nWith PEFT:\n\n";
  text += code_block("python", fmt::format("import peft, transformers\n\n"
                                           "base = transformers.AutoModelForCausalLM.from_pretrained({})\n"
                                           "model = peft.PeftModel.from_pretrained(base, \"THIS_DIRECTORY\")\n",
                                           quoted(name)));
  text += "\nAs a model of its own:\n\n";
  text += code_block("sh", "graft merge --model " + model + " --adapter THIS_DIRECTORY --output merged\n");
  return text + prompt_form(run);
}

std::string certificate(const Certificate& certificate, bool full) {
  return fmt::format(
      "## Certificate\n\n`certificate.json` holds the log-probabilities of {} texts as training saw them. An engine "
      "gave the same within {:.2g} nats, where {:.0e} are promised{}.{}\n",
      certificate.examples.size(), certificate.largest_difference, certificate.tolerance,
      certificate.holds() ? "" : ": **the promise was not kept**",
      full ? "" : " `graft serve --check-certificates` asks again wherever the adapter is loaded.");
}

}  // namespace

std::string render_model_card(const FinishedRun& run, const RunResult& result, int64_t trainable_parameters) {
  std::string text = header(run, result);
  const bool full = recipe::trains_all_weights(run.config.adapter);
  text += fmt::format("\n# {}\n\n", plain(title(run)));
  text += full ? fmt::format("A fine-tune of all weights of {}, trained with graft.\n\n", plain(base_name(run)))
               : fmt::format("A {} adapter for {}, trained with graft.\n\n",
                             run.config.adapter.use_dora ? "DoRA" : "LoRA", plain(base_name(run)));
  text += "## Results\n\n" + table(results(run, result)) + "\n" +
          (full              ? model_usage(run)
           : classifies(run) ? classifier_usage(run)
                             : usage(run)) +
          "\n";
  text += "## Training\n\n" + table(settings(run, trainable_parameters)) + "\n";
  text += "All settings are in `config.yaml`; `report.html` shows the run.\n\n## Data\n\n" + table(data(run)) + "\n";
  return text + certificate(result.certificate, full);
}

}  // namespace graft::training
