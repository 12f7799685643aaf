#include "recipe/config_schema.h"

#include <array>
#include <type_traits>
#include <utility>

#include "recipe/adapter_settings.h"
#include "recipe/optimizer_config.h"
#include "recipe/row_shape.h"
#include "recipe/schedule_config.h"

namespace graft::recipe {
namespace {

// How each type of a field is read, written and named. `read` keeps the field where the key is absent; null clears
// what is optional.
template <class T>
struct Field;

IntegerBounds as_integers(const NumberBounds& bounds) {
  constexpr double kLargest = 9.0e18;
  IntegerBounds result;
  if (bounds.min > -kLargest) result.min = static_cast<int64_t>(bounds.min);
  if (bounds.max < kLargest) result.max = static_cast<int64_t>(bounds.max);
  return result;
}

template <>
struct Field<int64_t> {
  static constexpr const char* kType = "integer";
  static auto read(ConfigReader& reader, const std::string& key, const Option& option) {
    return reader.integer(key, as_integers(option.bounds.value_or(NumberBounds{})));
  }
  static ConfigNode write(int64_t value) { return ConfigNode::integer(value); }
};

template <>
struct Field<double> {
  static constexpr const char* kType = "number";
  static auto read(ConfigReader& reader, const std::string& key, const Option& option) {
    return reader.number(key, option.bounds.value_or(NumberBounds{}));
  }
  static ConfigNode write(double value) { return ConfigNode::number(value); }
};

template <>
struct Field<bool> {
  static constexpr const char* kType = "boolean";
  static auto read(ConfigReader& reader, const std::string& key, const Option& /*option*/) {
    return reader.boolean(key);
  }
  static ConfigNode write(bool value) { return ConfigNode::boolean(value); }
};

template <>
struct Field<std::string> {
  static constexpr const char* kType = "string";
  static auto read(ConfigReader& reader, const std::string& key, const Option& option) {
    return option.choices.empty() ? reader.string(key) : reader.choice(key, option.choices);
  }
  static ConfigNode write(const std::string& value) { return ConfigNode::string(value); }
};

template <>
struct Field<std::vector<std::string>> {
  static constexpr const char* kType = "list of strings";
  static auto read(ConfigReader& reader, const std::string& key, const Option& /*option*/) {
    return reader.strings(key);
  }
  static ConfigNode write(const std::vector<std::string>& values) {
    ConfigNode node = ConfigNode::list();
    for (const auto& value : values) node.items.push_back(ConfigNode::string(value));
    return node;
  }
};

template <>
struct Field<std::vector<double>> {
  static constexpr const char* kType = "list of numbers";
  static auto read(ConfigReader& reader, const std::string& key, const Option& option) {
    return reader.numbers(key, option.bounds.value_or(NumberBounds{}));
  }
  static ConfigNode write(const std::vector<double>& values) {
    ConfigNode node = ConfigNode::list();
    for (const double value : values) node.items.push_back(ConfigNode::number(value));
    return node;
  }
};

template <>
struct Field<NamedNumbers> {
  static constexpr const char* kType = "section of numbers";
  static auto read(ConfigReader& reader, const std::string& key, const Option& option) {
    return reader.named_numbers(key, option.bounds.value_or(NumberBounds{}));
  }
  static ConfigNode write(const NamedNumbers& values) {
    ConfigNode node = ConfigNode::map();
    for (const auto& [name, value] : values) node.put(name, ConfigNode::number(value));
    return node;
  }
};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

struct Extras {
  bool from_graft = false;
  bool folded = false;
  bool may_be_auto = false;  // Ludwig's word for null
  std::optional<NumberBounds> bounds = std::nullopt;
  std::vector<std::string> choices = {};
};

bool says_auto(ConfigReader& reader, const std::string& key) {
  const ConfigNode* node = reader.node(key);
  return node != nullptr && node->kind == ConfigNode::Kind::kScalar && node->text == "auto";
}

// `field` is a captureless function from a config to the member, so that one row serves reading and writing.
template <class Access>
Option row(std::string path, Access field, std::string help, Extras extras = {}) {
  using Member = std::remove_cvref_t<decltype(field(std::declval<TrainingConfig&>()))>;
  Option option;
  option.path = std::move(path);
  option.help = std::move(help);
  option.from_graft = extras.from_graft;
  option.folded = extras.folded;
  option.choices = std::move(extras.choices);
  option.bounds = extras.bounds;
  Option facts = option;  // what reading needs: bounds and choices
  if constexpr (IsOptional<Member>::value) {
    using Value = typename Member::value_type;
    option.type = Field<Value>::kType;
    option.nullable = true;
    option.read = [field, facts, automatic = extras.may_be_auto](TrainingConfig& config, ConfigReader& reader,
                                                                 const std::string& key) {
      if (!reader.has(key)) {
        reader.node(key);
        return;
      }
      const bool null = automatic && says_auto(reader, key);
      field(config) = null ? std::nullopt : Field<Value>::read(reader, key, facts);
    };
    option.write = [field](const TrainingConfig& config) {
      const auto& value = field(config);
      return value ? Field<Value>::write(*value) : ConfigNode{};
    };
  } else {
    option.type = Field<Member>::kType;
    option.read = [field, facts](TrainingConfig& config, ConfigReader& reader, const std::string& key) {
      if (auto value = Field<Member>::read(reader, key, facts)) {
        field(config) = std::move(*value);
      } else if (reader.is_null(key)) {
        reader.fail(key, "must not be null: leave the key out for the default");
      }
    };
    option.write = [field](const TrainingConfig& config) { return Field<Member>::write(field(config)); };
  }
  return option;
}

#define GRAFT_FIELD(member) [](auto& c) -> auto& { return c.member; }

// target_modules is a list, the single word all-linear, or as in PEFT a regular expression.
Option target_modules_row() {
  Option option = row("adapter.target_modules", GRAFT_FIELD(adapter.target_modules),
                      "The linear layers that get an adapter: a list of module names, `all-linear` for every linear "
                      "layer but the output layer, or another string: a regular expression for whole module paths.");
  const auto read_list = option.read;
  option.read = [read_list](TrainingConfig& config, ConfigReader& reader, const std::string& key) {
    const ConfigNode* node = reader.node(key);
    if (node != nullptr && node->kind == ConfigNode::Kind::kScalar) {
      if (node->text == "all-linear") {
        config.adapter.target_modules = {"all-linear"};
      } else if (node->text.find_first_of("\\*+?()[]{}|^$") == std::string::npos) {  // a name alone is no whole path
        reader.fail(key, "expected a list of module names, all-linear or a regular expression");
      } else {
        config.adapter.target_modules.clear();
        config.adapter.target_pattern = node->text;
      }
      return;
    }
    // Null stays Ludwig's default.
    if (node != nullptr && node->kind == ConfigNode::Kind::kList) read_list(config, reader, key);
    if (node != nullptr && node->kind == ConfigNode::Kind::kMap) {
      reader.fail(key, "expected a list of module names, all-linear or a regular expression");
    }
  };
  option.write = [write_list = option.write](const TrainingConfig& config) {
    return config.adapter.target_pattern ? ConfigNode::string(*config.adapter.target_pattern) : write_list(config);
  };
  option.type = "list of strings, or a string";
  option.nullable = true;
  return option;
}

// PEFT's names; its `true` is a boolean in YAML, and ours to write.
Option init_lora_weights_row() {
  Option option =
      row("adapter.init_lora_weights", GRAFT_FIELD(adapter.init_lora_weights),
          "How A and B begin: `true`: A random, B zero; `pissa`: as the principal singular vectors and values "
          "of the weights, which the run's base then lacks (PiSSA); `pissa_niter_N`: the same by a faster, "
          "randomised decomposition of N iterations (4, say). A PiSSA adapter is saved as a plain LoRA of "
          "twice the rank over the unchanged base.",
          {.from_graft = true});
  option.read = [read = option.read](TrainingConfig& config, ConfigReader& reader, const std::string& key) {
    read(config, reader, key);
    const std::string& name = config.adapter.init_lora_weights;
    if (name != "true" && !pissa_iterations(name)) {
      reader.fail(key, "expected true, pissa or pissa_niter_N with N from 1 to 99");
    }
  };
  option.write = [](const TrainingConfig& config) {
    const std::string& name = config.adapter.init_lora_weights;
    return name == "true" ? ConfigNode::boolean(true) : ConfigNode::string(name);
  };
  option.type = "true, or a string";
  return option;
}

// A section without keys of the user's own: null is empty.
Option pattern_row(std::string path, auto field, std::string help, NumberBounds bounds) {
  Option option = row(std::move(path), field, std::move(help), {.bounds = bounds});
  const auto read = option.read;
  option.read = [read](TrainingConfig& config, ConfigReader& reader, const std::string& key) {
    if (reader.is_null(key)) {
      reader.node(key);
    } else {
      read(config, reader, key);
    }
  };
  option.nullable = true;
  return option;
}

constexpr NumberBounds kAtLeastOne = {.min = 1};
constexpr NumberBounds kAtLeastZero = {.min = 0};
constexpr NumberBounds kPositive = {.min = 0, .open_min = true};
constexpr NumberBounds kFraction = {.min = 0, .max = 1};
constexpr NumberBounds kBelowOne = {.min = 0, .max = 1, .open_max = true};
constexpr NumberBounds kRatio = {.min = 0, .max = 1, .open_min = true};
constexpr NumberBounds kTokens = {.min = 1, .max = 1 << 24};

void add_data_options(std::vector<Option>& table) {
  table.push_back(row("model_type", GRAFT_FIELD(model_type), "Always `llm`. Required.", {.choices = {"llm"}}));
  table.push_back(row("base_model", GRAFT_FIELD(base_model),
                      "The model to fine-tune: the name of an imported model, or a path. Required."));
  table.push_back(
      row("dataset", GRAFT_FIELD(dataset),
          "The data file: json, jsonl, csv, tsv, xlsx, parquet or arrow. `--dataset` on the command line wins.",
          {.from_graft = true}));
  table.push_back(row("prompt.template", GRAFT_FIELD(prompt.template_text),
                      "The prompt, with `{column}` where a column's text belongs; `{{` and `}}` are braces. Null: the "
                      "only input feature as it is."));
  table.push_back(row("prompt.apply_chat_template", GRAFT_FIELD(prompt.apply_chat_template),
                      "Wrap prompt and completion into the model's chat template, as a user and an assistant message.",
                      {.from_graft = true}));
  table.push_back(
      row("preprocessing.row_format", GRAFT_FIELD(preprocessing.row_format),
          "What a row is: see \"Rows\" below. `auto`: `columns` where this file has a template or features, "
          "otherwise by the names of the columns.",
          {.from_graft = true, .choices = row_format_names()}));
  table.push_back(
      row("preprocessing.split.type", GRAFT_FIELD(preprocessing.split.type),
          "`random` by probabilities; `fixed` by a column; `stratify`: by probabilities within each value of "
          "a column, the label; `auto`: `fixed` where the first row's column says where it belongs, "
          "otherwise `random`.",
          {.choices = {"auto", "random", "fixed", "stratify"}}));
  table.push_back(row("preprocessing.split.probabilities", GRAFT_FIELD(preprocessing.split.probabilities),
                      "Shares of train, validation and test rows; they add up to 1.", {.bounds = kFraction}));
  table.push_back(
      row("preprocessing.split.column", GRAFT_FIELD(preprocessing.split.column),
          "For `fixed` and `auto`: the column that holds 0, 1 or 2, or the words train (training), "
          "validation (valid, val, dev, evaluation, eval) or test, in any case. For `stratify`: the label's "
          "column; where it is left out, the output feature."));
  table.push_back(row("preprocessing.sample_ratio", GRAFT_FIELD(preprocessing.sample_ratio),
                      "The share of the rows to use, drawn by random_seed.", {.bounds = kRatio}));
  table.push_back(row("preprocessing.global_max_sequence_length", GRAFT_FIELD(preprocessing.global_max_sequence_length),
                      "Longest row, in tokens. Null: the model's context.", {.bounds = kTokens}));
  table.push_back(row("preprocessing.overlong_rows", GRAFT_FIELD(preprocessing.overlong_rows),
                      "Rows that are longer: `truncate` (the beginning of the prompt goes first, then the end of the "
                      "completion; documents are cut into pieces), `drop`, or `refuse` to start. Counts are reported.",
                      {.from_graft = true, .choices = {"truncate", "drop", "refuse"}}));
  table.push_back(
      row("preprocessing.invalid_rows", GRAFT_FIELD(preprocessing.invalid_rows),
          "Rows that cannot be learned from (a column is missing, roles out of order, nothing carries loss): "
          "`refuse` to start, or `drop` them and count the reasons.",
          {.from_graft = true, .choices = {"refuse", "drop"}}));
}

void add_adapter_options(std::vector<Option>& table) {
  table.push_back(row("adapter.type", GRAFT_FIELD(adapter.type),
                      "The kind of adapter. Required. `full`: none; all weights are trained, see \"Training all "
                      "weights\" below, and the other keys of this section are refused.",
                      {.choices = {"lora", "full"}}));
  const size_t first = table.size();
  table.push_back(row("adapter.r", GRAFT_FIELD(adapter.r), "Rank.", {.bounds = NumberBounds{.min = 1, .max = 4096}}));
  table.push_back(row("adapter.alpha", GRAFT_FIELD(adapter.alpha),
                      "Scale: the update is multiplied by alpha / r. Null: 2 r.", {.bounds = kPositive}));
  table.push_back(
      row("adapter.dropout", GRAFT_FIELD(adapter.dropout), "Dropout on the adapter's input.", {.bounds = kBelowOne}));
  table.push_back(
      row("adapter.bias_type", GRAFT_FIELD(adapter.bias_type), "Which biases are trained.", {.choices = {"none"}}));
  table.push_back(target_modules_row());
  table.push_back(row("adapter.exclude_modules", GRAFT_FIELD(adapter.exclude_modules),
                      "Names of modules that get none though target_modules names them.", {.from_graft = true}));
  table.push_back(
      row("adapter.layers_to_transform", GRAFT_FIELD(adapter.layers_to_transform),
          "Numbers of the decoder layers that get an adapter, from 0; empty: all. With a list of names only.",
          {.from_graft = true, .bounds = kAtLeastZero}));
  table.push_back(row("adapter.use_rslora", GRAFT_FIELD(adapter.use_rslora), "Scale by alpha / sqrt(r) instead."));
  table.push_back(row("adapter.use_dora", GRAFT_FIELD(adapter.use_dora),
                      "DoRA: the length of each row of a changed weight is learned apart from its direction."));
  table.push_back(pattern_row("adapter.rank_pattern", GRAFT_FIELD(adapter.rank_pattern),
                              "Other ranks for some modules: name or suffix to rank.", {.min = 1, .max = 4096}));
  table.push_back(pattern_row("adapter.alpha_pattern", GRAFT_FIELD(adapter.alpha_pattern),
                              "Other alphas for some modules: name or suffix to alpha.", kPositive));
  table.push_back(init_lora_weights_row());
  table.push_back(row("adapter.pretrained_adapter_weights", GRAFT_FIELD(adapter.pretrained_adapter_weights),
                      "An adapter to start from: a PEFT directory, the directory of a finished run, one of a run's "
                      "checkpoints (JOB/checkpoints/40), or the name of a run in $GRAFT_HOME/jobs."));
  table.push_back(row("adapter.loraplus_lr_ratio", GRAFT_FIELD(adapter.loraplus_lr_ratio),
                      "LoRA+: the learning rate of B is this times learning_rate (16, say).",
                      {.from_graft = true, .bounds = kPositive}));
  for (size_t i = first; i < table.size(); ++i) {
    table[i].applies = [](const TrainingConfig& c) { return !trains_all_weights(c.adapter); };
  }
}

void add_trainer_options(std::vector<Option>& table) {
  table.push_back(row("trainer.type", GRAFT_FIELD(trainer.type), "The method.", {.choices = {"finetune"}}));
  table.push_back(row("trainer.dtype", GRAFT_FIELD(trainer.dtype),
                      "Type of the weights and the activations. The adapter itself is float32. int8 and int4: frozen "
                      "weights of so many bits (QLoRA), activations between the products in bfloat16.",
                      {.from_graft = true, .choices = {"bfloat16", "float32", "int8", "int4"}}));
  table.push_back(row("trainer.epochs", GRAFT_FIELD(trainer.epochs), "Passes over the training rows.",
                      {.bounds = NumberBounds{.min = 1, .max = 1e6}}));
  table.push_back(row("trainer.train_steps", GRAFT_FIELD(trainer.train_steps),
                      "Optimizer steps; wins over epochs. Null: as many as the epochs hold.", {.bounds = kAtLeastOne}));
  table.push_back(row("trainer.learning_rate", GRAFT_FIELD(trainer.learning_rate),
                      "Highest learning rate. Training all weights: 2e-5 where it is left out.", {.bounds = kRatio}));
  table.push_back(row("trainer.max_batch_tokens", GRAFT_FIELD(trainer.max_batch_tokens),
                      "Tokens of an optimizer step: rows are packed until the next one would not fit. 2048 where no "
                      "other step size is given.",
                      {.from_graft = true, .bounds = kTokens}));
  table.push_back(row("trainer.effective_batch_size", GRAFT_FIELD(trainer.effective_batch_size),
                      "Rows of an optimizer step, instead of max_batch_tokens.",
                      {.may_be_auto = true, .bounds = kAtLeastOne}));
  table.push_back(row("trainer.batch_size", GRAFT_FIELD(trainer.batch_size),
                      "With gradient_accumulation_steps another way to write effective_batch_size: their product.",
                      {.folded = true, .may_be_auto = true, .bounds = NumberBounds{.min = 1, .max = 1e6}}));
  table.push_back(row("trainer.gradient_accumulation_steps", GRAFT_FIELD(trainer.gradient_accumulation_steps),
                      "See batch_size.",
                      {.folded = true, .may_be_auto = true, .bounds = NumberBounds{.min = 1, .max = 1e6}}));
  table.push_back(row("trainer.max_micro_batch_tokens", GRAFT_FIELD(trainer.max_micro_batch_tokens),
                      "Tokens of one forward and backward pass; a longer row is a pass of its own. Bounds memory; "
                      "changes results only by "
                      "rounding.",
                      {.from_graft = true, .bounds = kTokens}));
  table.push_back(row("trainer.early_stop", GRAFT_FIELD(trainer.early_stop),
                      "Stop after so many evaluations without a lower validation loss; -1: never.",
                      {.bounds = NumberBounds{.min = -1}}));
  table.push_back(row("trainer.evaluate_every", GRAFT_FIELD(trainer.evaluate_every),
                      "Steps between evaluations. Null: whenever a checkpoint is written.",
                      {.from_graft = true, .bounds = kAtLeastOne}));
  table.push_back(
      row("trainer.validation_metric", GRAFT_FIELD(trainer.validation_metric),
          "Which evaluation is the best, for early_stop and for what is kept: the one with the lowest `loss`, "
          "or the highest `exact_match`, `token_f1`, `rouge_l`, `json_validity`, or score of a Python file "
          "(*.py, with a function metric(prompt, completion, reference)). Of a classifier: `loss`, `accuracy` or "
          "`macro_f1`."));
  table.push_back(row("trainer.evaluation_metrics", GRAFT_FIELD(trainer.evaluation_metrics),
                      "More of these metrics that every evaluation computes, from answers to validation rows.",
                      {.from_graft = true}));
  table.push_back(row("trainer.evaluation_rows", GRAFT_FIELD(trainer.evaluation_rows),
                      "The validation rows, the first, that are answered for them.",
                      {.from_graft = true, .bounds = NumberBounds{.min = 1, .max = 1e6}}));
  table.push_back(row("trainer.steps_per_checkpoint", GRAFT_FIELD(trainer.steps_per_checkpoint),
                      "Steps between checkpoints; 0: after every epoch.", {.bounds = kAtLeastZero}));
  table.push_back(row("trainer.checkpoints_per_epoch", GRAFT_FIELD(trainer.checkpoints_per_epoch),
                      "Checkpoints in an epoch, instead of steps_per_checkpoint.", {.bounds = kAtLeastZero}));
  table.push_back(row("trainer.neftune_noise_alpha", GRAFT_FIELD(trainer.neftune_noise_alpha),
                      "NEFTune: uniform noise of this over sqrt(length * width) on the embeddings while training (5, "
                      "say); 0: none.",
                      {.from_graft = true, .bounds = kAtLeastZero}));
  table.push_back(row("trainer.gradient_clipping.clipglobalnorm", GRAFT_FIELD(trainer.clipglobalnorm),
                      "Largest norm of a step's gradient; null: no clipping. Not for training all weights, where it "
                      "is null.",
                      {.bounds = kPositive}));
  table.push_back(row("trainer.gradient_clipping.clipnorm", GRAFT_FIELD(trainer.clipnorm),
                      "Training all weights: largest norm of each parameter's gradient, which is computed twice for "
                      "it; null: no clipping.",
                      {.bounds = kPositive}));
  table.push_back(row("trainer.enable_gradient_checkpointing", GRAFT_FIELD(trainer.enable_gradient_checkpointing),
                      "Activation checkpointing: the forward pass keeps the input of each layer alone, the backward "
                      "pass runs the layer again. Less memory, the same results, about a third more work. Null or "
                      "`auto`: where the memory would not suffice without.",
                      {.may_be_auto = true}));
}

// A key that some kinds of decay have.
template <class Access>
Option schedule_row(const char* key, Access field, std::string help, Extras extras = {}) {
  Option option = row(std::string("trainer.learning_rate_scheduler.") + key, field, std::move(help), std::move(extras));
  option.applies = [key](const TrainingConfig& c) { return decay_has_key(c.trainer.learning_rate_scheduler, key); };
  return option;
}

void add_schedule_options(std::vector<Option>& table) {
  table.push_back(
      row("trainer.learning_rate_scheduler.decay", GRAFT_FIELD(trainer.learning_rate_scheduler.decay),
          "How the rate falls after the warm-up. Null is constant: it does not. `wsd` is constant until the "
          "last decay_fraction of the steps.",
          {.choices = {"cosine", "linear", "polynomial", "exponential", "wsd", "constant"}}));
  table.push_back(row("trainer.learning_rate_scheduler.warmup_fraction",
                      GRAFT_FIELD(trainer.learning_rate_scheduler.warmup_fraction),
                      "Share of all steps in which the rate rises from 0.", {.bounds = kFraction}));
  table.push_back(row("trainer.learning_rate_scheduler.warmup_evaluations",
                      GRAFT_FIELD(trainer.learning_rate_scheduler.warmup_evaluations),
                      "Length of the warm-up in evaluations, instead of warmup_fraction.", {.bounds = kAtLeastZero}));
  table.push_back(schedule_row("eta_min", GRAFT_FIELD(trainer.learning_rate_scheduler.eta_min),
                               "The rate in the end; cosine, linear, polynomial, wsd.", {.bounds = kFraction}));
  table.push_back(schedule_row("t_0", GRAFT_FIELD(trainer.learning_rate_scheduler.t_0),
                               "cosine: steps until it starts again. Null: it does not.",
                               {.bounds = NumberBounds{.min = 1, .max = 1e15}}));
  table.push_back(schedule_row("t_mult", GRAFT_FIELD(trainer.learning_rate_scheduler.t_mult),
                               "cosine with t_0: how much longer each cycle is than the one before.",
                               {.bounds = NumberBounds{.min = 1, .max = 1000}}));
  table.push_back(schedule_row("power", GRAFT_FIELD(trainer.learning_rate_scheduler.power), "polynomial: its power.",
                               {.from_graft = true, .bounds = kPositive}));
  table.push_back(schedule_row("decay_fraction", GRAFT_FIELD(trainer.learning_rate_scheduler.decay_fraction),
                               "wsd: the share of all steps, the last, in which the rate falls.",
                               {.from_graft = true, .bounds = kFraction}));
  table.push_back(schedule_row("decay_shape", GRAFT_FIELD(trainer.learning_rate_scheduler.decay_shape),
                               "wsd: how it falls.", {.from_graft = true, .choices = {"linear", "1-sqrt", "cosine"}}));
  table.push_back(schedule_row("decay_rate", GRAFT_FIELD(trainer.learning_rate_scheduler.decay_rate),
                               "exponential: the factor of every decay_steps steps.", {.bounds = kRatio}));
  table.push_back(schedule_row("decay_steps", GRAFT_FIELD(trainer.learning_rate_scheduler.decay_steps),
                               "exponential: see decay_rate.", {.bounds = kAtLeastOne}));
  table.push_back(schedule_row("staircase", GRAFT_FIELD(trainer.learning_rate_scheduler.staircase),
                               "exponential: falls at once, every decay_steps steps."));
}

// A key that some types of optimizer have.
template <class Access>
Option optimizer_row(const char* key, Access field, std::string help, Extras extras = {}) {
  Option option = row(std::string("trainer.optimizer.") + key, field, std::move(help), std::move(extras));
  option.applies = [key](const TrainingConfig& c) { return optimizer_has_key(c.trainer.optimizer.type, key); };
  return option;
}

void add_optimizer_options(std::vector<Option>& table) {
  table.push_back(row("trainer.optimizer.type", GRAFT_FIELD(trainer.optimizer.type),
                      "`adam` is adamw while weight_decay is 0. `adamw_8bit` keeps its moments in 8 bits, `adafactor` "
                      "second moments by row and column, `lion`, `muon` and `sgd` one momentum.",
                      {.choices = {"adamw", "adam", "adamw_8bit", "lion", "adafactor", "muon", "sgd"}}));
  table.push_back(optimizer_row("betas", GRAFT_FIELD(trainer.optimizer.betas),
                                "Two decay rates. Default [0.9, 0.999]; lion [0.9, 0.99].", {.bounds = kBelowOne}));
  table.push_back(optimizer_row("eps", GRAFT_FIELD(trainer.optimizer.eps),
                                "Against division by 0. Default 1e-8; muon 1e-7, adafactor 1e-30.",
                                {.bounds = kPositive}));
  table.push_back(optimizer_row("weight_decay", GRAFT_FIELD(trainer.optimizer.weight_decay),
                                "Decoupled weight decay; of sgd, added to the gradient. Default 0; muon 0.1.",
                                {.bounds = kAtLeastZero}));
  table.push_back(optimizer_row("momentum", GRAFT_FIELD(trainer.optimizer.momentum), "Default sgd 0, muon 0.95.",
                                {.bounds = kBelowOne}));
  table.push_back(optimizer_row("dampening", GRAFT_FIELD(trainer.optimizer.dampening),
                                "The share of a gradient that the momentum does not take in. Default 0.",
                                {.bounds = kFraction}));
  table.push_back(optimizer_row("nesterov", GRAFT_FIELD(trainer.optimizer.nesterov),
                                "Nesterov's momentum. Default sgd false, muon true."));
  table.push_back(optimizer_row("beta1", GRAFT_FIELD(trainer.optimizer.beta1),
                                "Decay rate of adafactor's first moment. Null: it has none.",
                                {.from_graft = true, .bounds = kBelowOne}));
  table.push_back(optimizer_row("clip_threshold", GRAFT_FIELD(trainer.optimizer.clip_threshold),
                                "Largest root mean square of an update of adafactor. Default 1.",
                                {.from_graft = true, .bounds = kPositive}));
  table.push_back(optimizer_row("decay_rate", GRAFT_FIELD(trainer.optimizer.decay_rate),
                                "adafactor's second moment forgets at 1 - step^decay_rate. Default -0.8.",
                                {.from_graft = true, .bounds = NumberBounds{.min = -10, .max = 0, .open_max = true}}));
  table.push_back(optimizer_row("ns_steps", GRAFT_FIELD(trainer.optimizer.ns_steps),
                                "muon's Newton-Schulz steps. Default 5.",
                                {.from_graft = true, .bounds = NumberBounds{.min = 1, .max = 99}}));
  table.push_back(optimizer_row("adjust_lr_fn", GRAFT_FIELD(trainer.optimizer.adjust_lr_fn),
                                "muon's rate for a matrix: `original` (times sqrt(max(1, rows / columns))) or "
                                "`match_rms_adamw` (times 0.2 sqrt(max(rows, columns))). Default original.",
                                {.from_graft = true, .choices = {"original", "match_rms_adamw"}}));
  table.push_back(row("trainer.optimizer.no_decay", GRAFT_FIELD(trainer.optimizer.no_decay),
                      "Parameters without weight decay: their names, or whole parts of them, such as `lora_B`.",
                      {.from_graft = true}));
  table.push_back(row("trainer.ema_decay", GRAFT_FIELD(trainer.ema_decay),
                      "Keeps a moving average of the adapter with this decay (0.999, say), which is what is evaluated "
                      "and saved; 0: none.",
                      {.from_graft = true, .bounds = kBelowOne}));
  table.push_back(row("trainer.keep_checkpoints", GRAFT_FIELD(trainer.keep_checkpoints),
                      "The newest checkpoints that are kept; the best one is kept beside them.",
                      {.from_graft = true, .bounds = NumberBounds{.min = 1, .max = 1e6}}));
}

void add_other_options(std::vector<Option>& table) {
  table.push_back(row("generation.max_new_tokens", GRAFT_FIELD(generation.max_new_tokens),
                      "Longest answer, in tokens, of samples and predictions.", {.bounds = kTokens}));
  table.push_back(
      row("generation.do_sample", GRAFT_FIELD(generation.do_sample), "false: always the most probable token."));
  table.push_back(row("generation.temperature", GRAFT_FIELD(generation.temperature),
                      "Sampling temperature; 0 is the same as do_sample: false.", {.bounds = kAtLeastZero}));
  table.push_back(row("generation.top_k", GRAFT_FIELD(generation.top_k),
                      "Sample from the k most probable tokens; null: from all.", {.bounds = kAtLeastOne}));
  table.push_back(row("generation.top_p", GRAFT_FIELD(generation.top_p),
                      "Sample from the most probable tokens that together reach this probability; null: from all.",
                      {.bounds = kRatio}));
  table.push_back(row("generation.repetition_penalty", GRAFT_FIELD(generation.repetition_penalty),
                      "Divides the logits of tokens that are there already; 1: no penalty.", {.bounds = kPositive}));
  table.push_back(row("quantization.bits", GRAFT_FIELD(quantization_bits),
                      "4 or 8: the frozen weights have so many bits (QLoRA); short for trainer.dtype: int4 or int8.",
                      {.folded = true, .bounds = NumberBounds{.min = 4, .max = 8}}));
  table.push_back(row("logging.tensorboard", GRAFT_FIELD(logging.tensorboard),
                      "Also write event files for TensorBoard, into tensorboard/ in the job directory.",
                      {.from_graft = true}));
  table.push_back(row("logging.mlflow", GRAFT_FIELD(logging.mlflow),
                      "Also record the run in a directory as MLflow's file store lays it out.", {.from_graft = true}));
  table.push_back(row("logging.mlflow_directory", GRAFT_FIELD(logging.mlflow_directory),
                      "That directory; several runs may share it. Null: mlruns in the job directory.",
                      {.from_graft = true}));
  table.push_back(row("logging.mlflow_experiment", GRAFT_FIELD(logging.mlflow_experiment),
                      "The experiment's name there.", {.from_graft = true}));
  table.push_back(row("backend.type", GRAFT_FIELD(backend), "Where it runs.", {.choices = {"local"}}));
  table.push_back(row("random_seed", GRAFT_FIELD(random_seed),
                      "Seed of everything random: split, order, initial weights, dropout, sampling.",
                      {.bounds = kAtLeastZero}));
}

#undef GRAFT_FIELD

}  // namespace

std::span<const Option> options() {
  static const std::vector<Option> table = [] {
    std::vector<Option> rows;
    add_data_options(rows);
    add_adapter_options(rows);
    add_trainer_options(rows);
    add_schedule_options(rows);
    add_optimizer_options(rows);
    add_other_options(rows);
    return rows;
  }();
  return table;
}

std::span<const UnsupportedOption> unsupported_options() {
  static const std::vector<UnsupportedOption> table = {
      {"ludwig_version", {"*"}, ""},  // who wrote the file: changes nothing
      {"model_parameters", {}, "not supported; the model's own parameters are used"},
      {"trust_remote_code", {"false"}, "code from a model's repository is never run"},
      {"defaults", {}, "not supported; write the values where they belong"},
      {"hyperopt", {}, "not supported; start one run for each setting"},
      {"combiner", {}, "belongs to other model types"},
      {"prompt.task", {}, "not supported; write the task into prompt.template"},
      {"prompt.retrieval", {}, "not supported"},
      {"preprocessing.sample_size", {}, "not supported; use preprocessing.sample_ratio"},
      {"preprocessing.oversample_minority", {}, "not supported"},
      {"preprocessing.undersample_majority", {}, "not supported"},
      {"adapter.modules_to_save",
       {},
       "whole copies of modules (lm_head, embed_tokens, norms) are not trained, and an engine that serves many "
       "adapters "
       "on one base could not serve them; a classifier's head is trained and saved with output_features of type "
       "category"},
      {"adapter.postprocessor.merge_adapter_into_base_model", {"false"}, "training does not merge; keep the adapter"},
      {"adapter.postprocessor.progressbar", {"*"}, ""},
      {"trainer.eval_batch_size", {"auto"}, "not used; evaluation batches hold trainer.max_micro_batch_tokens tokens"},
      {"trainer.max_batch_size", {}, "not used; write the step's size with trainer.max_batch_tokens"},
      {"trainer.should_shuffle", {"true"}, "the order is always shuffled, by random_seed"},
      {"trainer.evaluate_training_set", {"false"}, "not supported; the training loss is reported at every step"},
      {"trainer.skip_all_evaluation", {"false"}, "not supported; use split probabilities without a validation share"},
      {"trainer.use_mixed_precision", {"false"}, "not used; trainer.dtype chooses the precision"},
      {"trainer.compile", {"false"}, "not supported"},
      {"trainer.enable_profiling", {"false"}, "not supported"},
      {"trainer.regularization_lambda", {"0", "0.0"}, "not supported; use trainer.optimizer.weight_decay"},
      {"trainer.regularization_type", {"l2"}, "not supported; use trainer.optimizer.weight_decay"},
      {"trainer.learning_rate_scaling", {"constant"}, "not supported; the rate is what learning_rate says"},
      {"trainer.validation_field", {}, "not supported; there is one output, and validation_metric decides"},
      {"trainer.bucketing_field", {}, "not used; batches are packed by length"},
      {"trainer.increase_batch_size_on_plateau", {"0"}, "not supported"},
      {"trainer.gradient_clipping.clipvalue", {}, "not supported; use clipglobalnorm"},
      {"trainer.optimizer.amsgrad", {"false"}, "not supported"},
      {"trainer.optimizer.block_wise", {"true"}, "8-bit moments always have a scale for each 256 of them"},
      {"trainer.optimizer.percentile_clipping", {"100"}, "not supported; use trainer.gradient_clipping"},
      {"trainer.learning_rate_scheduler.reduce_on_plateau", {"0"}, "not supported"},
      {"generation.num_beams", {"1"}, "beam search is not supported"},
      {"generation.use_cache", {"true"}, "the cache is always used"},
      {"generation.min_new_tokens", {"0"}, "not supported"},
      {"generation.max_length", {}, "not supported; use max_new_tokens"},
      {"generation.typical_p", {"1", "1.0"}, "not supported"},
      {"generation.penalty_alpha", {}, "contrastive search is not supported"},
      {"generation.no_repeat_ngram_size", {"0"}, "not supported"},
      {"generation.length_penalty", {"1", "1.0"}, "belongs to beam search, which is not supported"},
  };
  return table;
}

}  // namespace graft::recipe
