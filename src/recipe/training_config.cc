#include "recipe/training_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/config_reader.h"
#include "base/strings.h"
#include "recipe/adapter_settings.h"
#include "recipe/config_schema.h"
#include "recipe/optimizer_config.h"
#include "recipe/schedule_config.h"
#include "recipe/text_metrics.h"

namespace graft::recipe {
namespace {

constexpr int64_t kDefaultBatchTokens = 2048;

using Kind = ConfigNode::Kind;

struct Place {
  ConfigReader section;
  std::string key;
};

Place find_place(const ConfigReader& root, const std::string& path) {
  ConfigReader section = root;
  size_t begin = 0;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    section = section.section(path.substr(begin, dot - begin));
    begin = dot + 1;
  }
  return {section, path.substr(begin)};
}

std::vector<Feature> read_features(ConfigReader& root, const std::string& key, bool may_be_category) {
  std::vector<Feature> features;
  for (auto& section : root.sections(key)) {
    Feature feature;
    if (auto name = section.string("name")) {
      feature.name = std::move(*name);
    } else if (!section.has("name")) {
      section.fail("name", "is required: the column's name");
    }
    const std::string type = section.string("type").value_or("text");
    if (type == "category" && may_be_category) {
      feature.type = type;
    } else if (type != "text") {
      section.fail("type", may_be_category
                               ? "only text and category are supported: a language model writes text or picks a label"
                               : "only text features are supported: a language model reads text");
    }
    for (const char* other : {"preprocessing", "encoder", "decoder", "loss"}) {
      const ConfigNode* node = section.node(other);
      if (node == nullptr || node->kind == Kind::kNull) continue;
      section.fail(other,
                   "settings of single features are not supported; preprocessing.global_max_sequence_length "
                   "limits the length");
    }
    features.push_back(std::move(feature));
  }
  return features;
}

ConfigNode write_features(const std::vector<Feature>& features) {
  ConfigNode list = ConfigNode::list();
  for (const auto& feature : features) {
    ConfigNode node = ConfigNode::map();
    node.put("name", ConfigNode::string(feature.name));
    node.put("type", ConfigNode::string(feature.type));
    list.items.push_back(std::move(node));
  }
  return list;
}

void refuse_unsupported(const ConfigReader& root, const UnsupportedOption& option) {
  Place place = find_place(root, option.path);
  const ConfigNode* node = place.section.node(place.key);
  if (node == nullptr || node->kind == Kind::kNull) return;
  for (const auto& value : option.harmless) {
    if (value == "*" || (node->kind == Kind::kScalar && node->text == value)) return;
  }
  place.section.fail(place.key, option.why);
}

// What Ludwig lets one write in more than one way. The reader's table expects one shape.
ConfigNode normalised(const ConfigNode& root) {
  ConfigNode node = root;
  ConfigNode* backend = node.find("backend");
  if (backend != nullptr && backend->kind == Kind::kScalar) {
    ConfigNode section = ConfigNode::map();
    section.line = backend->line;
    section.source = backend->source;
    section.put("type", *backend);
    *backend = std::move(section);
  }
  return node;
}

void check_features(ConfigReader& root, const TrainingConfig& config) {
  const std::string& format = config.preprocessing.row_format;
  const bool any = !config.input_features.empty() || !config.output_features.empty();
  const bool columns = format == "columns" || (format == "auto" && (any || config.prompt.template_text.has_value()));
  if (!columns) {
    if (any) root.fail("input_features", fmt::format("not used with preprocessing.row_format: {}", format));
    if (config.prompt.template_text) {
      root.section("prompt").fail("template", fmt::format("not used with preprocessing.row_format: {}", format));
    }
    return;
  }
  if (config.output_features.size() != 1) {
    root.fail("output_features",
              fmt::format("exactly one is needed, the column to learn; there are {}", config.output_features.size()));
  }
  if (!config.prompt.template_text && config.input_features.size() != 1) {
    root.section("prompt").fail(
        "template", fmt::format("is required with {} input features: it says how their columns make a prompt",
                                config.input_features.size()));
  }
}

void resolve_step_size(ConfigReader& root, TrainerConfig& trainer) {
  ConfigReader section = root.section("trainer");
  if (trainer.batch_size || trainer.gradient_accumulation_steps) {
    const int64_t product = trainer.batch_size.value_or(1) * trainer.gradient_accumulation_steps.value_or(1);
    const bool both = trainer.batch_size && trainer.gradient_accumulation_steps;
    if (!trainer.effective_batch_size) {
      trainer.effective_batch_size = product;
    } else if (both && *trainer.effective_batch_size != product) {
      section.fail("effective_batch_size", fmt::format("is {}, but batch_size x gradient_accumulation_steps is {}",
                                                       *trainer.effective_batch_size, product));
    } else if (*trainer.effective_batch_size % product != 0) {
      section.fail("effective_batch_size", fmt::format("must be a multiple of {}", product));
    }
    trainer.batch_size.reset();
    trainer.gradient_accumulation_steps.reset();
  }
  if (trainer.max_batch_tokens && trainer.effective_batch_size) {
    section.fail("max_batch_tokens",
                 "a step's size is written in tokens or in rows (batch_size, "
                 "gradient_accumulation_steps, effective_batch_size), not both");
  }
  if (!trainer.max_batch_tokens && !trainer.effective_batch_size) trainer.max_batch_tokens = kDefaultBatchTokens;
}

// The label's column is the output feature, unless another is named.
void resolve_stratify(ConfigReader& root, TrainingConfig& config) {
  SplitConfig& split = config.preprocessing.split;
  if (split.type != "stratify") return;
  ConfigReader section = root.section("preprocessing").section("split");
  if (section.has("column") && !section.is_null("column")) return;
  if (config.output_features.size() == 1) {
    split.column = config.output_features[0].name;
  } else {
    section.fail("column", "is required with type: stratify: the column that holds the label");
  }
}

void check_data(ConfigReader& root, TrainingConfig& config) {
  if (config.model_type.empty() && !root.has("model_type"))
    root.fail("model_type", "is required: write model_type: llm");
  if (config.base_model.empty()) root.fail("base_model", "is required: the model to fine-tune");
  check_features(root, config);
  resolve_stratify(root, config);
  const auto& split = config.preprocessing.split;
  const double sum = std::accumulate(split.probabilities.begin(), split.probabilities.end(), 0.0);
  ConfigReader section = root.section("preprocessing").section("split");
  if (split.probabilities.size() != 3 || std::abs(sum - 1.0) > 1e-6 || split.probabilities[0] <= 0) {
    section.fail("probabilities", "expected three shares (train, validation, test) that add up to 1, train above 0");
  }
}

bool classifies(const TrainingConfig& config) {
  return config.output_features.size() == 1 && config.output_features[0].type == "category";
}

// A classifier writes no answers that could be scored.
void check_class_metrics(ConfigReader& trainer, const TrainerConfig& config) {
  const std::vector<std::string> known = {"loss", "accuracy", "macro_f1"};
  if (std::find(known.begin(), known.end(), config.validation_metric) == known.end()) {
    trainer.fail("validation_metric", "of an output feature of type category: loss, accuracy or macro_f1");
  }
  if (!config.evaluation_metrics.empty()) {
    trainer.fail(
        "evaluation_metrics",
        "are of written answers: with an output feature of type category, accuracy and macro_f1 are always there");
  }
}

void check_metric(ConfigReader& section, const std::string& key, const std::string& name, bool may_be_loss) {
  if (name.ends_with(".py") || text_metric(name) != nullptr || (may_be_loss && name == "loss")) return;
  std::vector<std::string> known(text_metric_names().begin(), text_metric_names().end());
  if (may_be_loss) known.insert(known.begin(), "loss");
  section.fail(
      key, fmt::format("'{}' is no metric, and no Python file (.py){}", printable(name, 60), suggestion(name, known)));
}

// What training all weights cannot have, and what it has in place of the other keys' defaults. Gradients are applied
// in the backward pass, so a step is one pass, and the norm of all of them is known too late.
class FullTraining {
 public:
  FullTraining(ConfigReader& root, TrainingConfig& config)
      : config_(config), trainer_(root.section("trainer")), adapter_(root.section("adapter")) {}

  // Before keys are resolved.
  void apply_defaults() {
    TrainerConfig& c = config_.trainer;
    if (!trainer_.has("learning_rate")) c.learning_rate = kFullLearningRate;
    if (!trainer_.section("optimizer").has("type")) c.optimizer.type = "adamw_8bit";
    if (!trainer_.section("gradient_clipping").has("clipglobalnorm")) c.clipglobalnorm.reset();
    config_.adapter = AdapterConfig{};
    config_.adapter.type = "full";
  }

  void check() {
    for (const Option& option : options()) {
      if (!option.path.starts_with("adapter.") || option.path == "adapter.type") continue;
      const std::string key = option.path.substr(option.path.find('.') + 1);
      if (adapter_.has(key) && !adapter_.is_null(key)) adapter_.fail(key, "belongs to type: lora");
    }
    const TrainerConfig& c = config_.trainer;
    if (c.dtype == "int8" || c.dtype == "int4" || config_.quantization_bits) {
      trainer_.fail("dtype", "quantised weights cannot be trained: use bfloat16 or float32, or adapter.type: lora");
    }
    if (!c.optimizer.type.starts_with("adam")) {
      trainer_.section("optimizer").fail("type", "training all weights has adamw_8bit and adamw");
    }
    if (c.neftune_noise_alpha > 0) trainer_.fail("neftune_noise_alpha", "belongs to adapter.type: lora");
    if (c.ema_decay > 0) trainer_.fail("ema_decay", "an average would be another copy of all weights: leave it 0");
    if (c.clipglobalnorm) {
      trainer_.section("gradient_clipping")
          .fail("clipglobalnorm",
                "gradients are applied during the backward pass, before their norm is known: use clipnorm, which "
                "clips each parameter's, or null, or adapter.type: lora");
    }
    if (c.gradient_accumulation_steps.value_or(1) > 1) {
      trainer_.fail("gradient_accumulation_steps",
                    "gradients are applied during the backward pass, not accumulated: a step is one pass over "
                    "max_batch_tokens or batch_size; enable_gradient_checkpointing makes room for larger ones");
    }
  }

  // When the step's size is known: it is one micro-batch.
  void resolve_micro_batch() {
    TrainerConfig& c = config_.trainer;
    const int64_t whole = c.max_batch_tokens.value_or(kMostTokens);
    if (trainer_.has("max_micro_batch_tokens") && c.max_micro_batch_tokens < whole) {
      trainer_.fail("max_micro_batch_tokens",
                    "gradients are applied during the backward pass, not accumulated over several: leave it out, or "
                    "make it as large as max_batch_tokens");
    }
    c.max_micro_batch_tokens = whole;
  }

 private:
  static constexpr double kFullLearningRate = 2e-5;
  static constexpr int64_t kMostTokens = int64_t{1} << 24;

  TrainingConfig& config_;
  ConfigReader trainer_, adapter_;
};

void check_trainer(ConfigReader& root, TrainingConfig& config) {
  ConfigReader trainer = root.section("trainer");
  if (config.trainer.steps_per_checkpoint > 0 && config.trainer.checkpoints_per_epoch > 0) {
    trainer.fail("checkpoints_per_epoch", "give steps_per_checkpoint or checkpoints_per_epoch, not both");
  }
  if (classifies(config)) {
    check_class_metrics(trainer, config.trainer);
  } else {
    check_metric(trainer, "validation_metric", config.trainer.validation_metric, true);
    for (const std::string& name : config.trainer.evaluation_metrics) {
      check_metric(trainer, "evaluation_metrics", name, false);
    }
  }
  if (config.trainer.early_stop == 0) trainer.fail("early_stop", "must be at least 1, or -1 for never");
  ConfigReader scheduler = trainer.section("learning_rate_scheduler");
  check_schedule(scheduler, config.trainer);
  ConfigReader optimizer = trainer.section("optimizer");
  resolve_optimizer(optimizer, config.trainer.optimizer);
}

void resolve_quantization(ConfigReader& root, TrainingConfig& config) {
  if (!config.quantization_bits) return;
  if (*config.quantization_bits != 4 && *config.quantization_bits != 8) {
    root.section("quantization").fail("bits", "must be 4 or 8");
  }
  config.trainer.dtype = *config.quantization_bits == 4 ? "int4" : "int8";
  config.quantization_bits.reset();
}

void resolve_adapter(ConfigReader& root, AdapterConfig& adapter) {
  ConfigReader section = root.section("adapter");
  if (!section.has("type")) {
    root.fail("adapter", "is required: {type: lora}, or {type: full} to train all weights");
  }
  if (trains_all_weights(adapter)) return;
  const auto& modules = adapter.target_modules;
  if (modules.size() > 1 && std::find(modules.begin(), modules.end(), "all-linear") != modules.end()) {
    section.fail("target_modules", "all-linear stands alone: it names every linear layer");
  }
  if (modules.empty() && !adapter.target_pattern)
    section.fail("target_modules", "must name at least one module, or all-linear");
  for (const double layer : adapter.layers_to_transform) {
    if (layer != std::floor(layer)) section.fail("layers_to_transform", "must hold whole numbers");
  }
  if (!adapter.layers_to_transform.empty() &&
      (adapter.target_pattern || (modules.size() == 1 && modules.front() == "all-linear"))) {
    section.fail("layers_to_transform", "applies to a list of module names: write them in target_modules");
  }
  for (const auto& [name, rank] : adapter.rank_pattern) {
    if (rank != std::floor(rank)) section.fail("rank_pattern", fmt::format("the rank of {} must be an integer", name));
  }
  if (pissa_iterations(adapter.init_lora_weights)) {
    if (adapter.use_dora) section.fail("init_lora_weights", "PiSSA and use_dora exclude each other");
    if (adapter.pretrained_adapter_weights) {
      section.fail("init_lora_weights", "PiSSA is a beginning of its own: leave pretrained_adapter_weights out");
    }
  }
  if (!adapter.alpha) adapter.alpha = 2.0 * static_cast<double>(adapter.r);
}

// A null section switches off what it holds; only clipping has something to switch off.
void apply_null_sections(const ConfigReader& root, TrainingConfig& config) {
  ConfigReader reader = root;
  if (reader.section("trainer").is_null("gradient_clipping")) config.trainer.clipglobalnorm.reset();
}

}  // namespace

Result<TrainingConfig> read_training_config(const ConfigTree& tree) {
  const ConfigTree shaped = tree.with_root(normalised(tree.root()));
  ConfigReader root(shaped);
  TrainingConfig config;
  config.input_features = read_features(root, "input_features", false);
  config.output_features = read_features(root, "output_features", true);
  for (const Option& option : options()) {
    Place place = find_place(root, option.path);
    option.read(config, place.section, place.key);
  }
  for (const UnsupportedOption& option : unsupported_options()) refuse_unsupported(root, option);
  apply_null_sections(root, config);
  FullTraining full(root, config);
  const bool trains_all = trains_all_weights(config.adapter);
  if (trains_all) {
    full.apply_defaults();
    full.check();
  } else if (config.trainer.clipnorm) {
    root.section("trainer")
        .section("gradient_clipping")
        .fail("clipnorm", "belongs to adapter.type: full; use clipglobalnorm");
  }
  check_data(root, config);
  check_trainer(root, config);
  resolve_quantization(root, config);
  resolve_step_size(root, config.trainer);
  if (trains_all) full.resolve_micro_batch();
  resolve_adapter(root, config.adapter);
  GRAFT_CHECK_OK(root.finish());
  return config;
}

Result<TrainingConfig> load_training_config(const std::string& path, const std::vector<std::string>& overrides) {
  GRAFT_TRY(ConfigTree tree, ConfigTree::load(path));
  for (const auto& assignment : overrides) GRAFT_CHECK_OK(tree.set(assignment));
  return read_training_config(tree);
}

ConfigNode to_node(const TrainingConfig& config) {
  ConfigNode root = ConfigNode::map();
  for (const Option& option : options()) {
    if (option.folded || (option.applies && !option.applies(config))) continue;
    ConfigNode* section = &root;
    size_t begin = 0;
    for (size_t dot = option.path.find('.'); dot != std::string::npos; dot = option.path.find('.', begin)) {
      const std::string name = option.path.substr(begin, dot - begin);
      ConfigNode* child = section->find(name);
      section = child != nullptr ? child : &section->put(name, ConfigNode::map());
      begin = dot + 1;
    }
    section->put(option.path.substr(begin), option.write(config));
    if (option.path == "dataset") {
      root.put("input_features", write_features(config.input_features));
      root.put("output_features", write_features(config.output_features));
    }
  }
  return root;
}

std::string to_yaml(const TrainingConfig& config) { return graft::to_yaml(to_node(config)); }

}  // namespace graft::recipe
