#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/config_tree.h"
#include "base/result.h"

namespace graft::recipe {

// A column of the data.
struct Feature {
  std::string name;
  std::string type = "text";  // text; of an output feature also category: one of a few labels, which is classification
  bool operator==(const Feature&) const = default;
};

struct PromptConfig {
  std::optional<std::string> template_text;  // key `template`; Python's str.format with {column}; {{ and }} are braces
  bool apply_chat_template = false;          // prompt and completion become a user and an assistant message of a chat
  bool operator==(const PromptConfig&) const = default;
};

struct SplitConfig {
  std::string type = "auto";                            // auto | random | fixed | stratify; see recipe/split.h
  std::vector<double> probabilities = {0.7, 0.1, 0.2};  // train, validation, test; random and stratify
  std::string column = "split";  // fixed: says where a row belongs; stratify: the label (resolved: the output feature)
  bool operator==(const SplitConfig&) const = default;
};

struct PreprocessingConfig {
  std::string row_format = "auto";  // or a name of recipe/row_shape.h
  SplitConfig split;
  double sample_ratio = 1.0;
  std::optional<int64_t> global_max_sequence_length;  // tokens; the model's context where it is absent or shorter
  std::string overlong_rows = "truncate";             // truncate | drop | refuse
  std::string invalid_rows = "refuse";                // refuse | drop
  bool operator==(const PreprocessingConfig&) const = default;
};

using NamedNumbers = std::vector<std::pair<std::string, double>>;

struct AdapterConfig {
  std::string type = "lora";  // or full: no adapter, all weights are trained; then the other keys mean nothing
  int64_t r = 8;
  std::optional<double> alpha;  // set by resolution: 2 r
  double dropout = 0.05;
  std::string bias_type = "none";
  std::vector<std::string> target_modules = {"q_proj", "v_proj"};  // or the one word all-linear
  std::optional<std::string> target_pattern;  // instead: a regular expression for whole paths, as target_modules
  std::vector<std::string> exclude_modules;
  std::vector<double> layers_to_transform;  // whole numbers; empty: all
  bool use_rslora = false;
  bool use_dora = false;
  NamedNumbers rank_pattern;               // module name or suffix -> rank
  NamedNumbers alpha_pattern;              // module name or suffix -> alpha
  std::string init_lora_weights = "true";  // true | pissa | pissa_niter_N; see adapter_settings.h
  std::optional<std::string> pretrained_adapter_weights;
  double loraplus_lr_ratio = 1.0;  // the learning rate of B over that of A
  bool operator==(const AdapterConfig&) const = default;
};

struct SchedulerConfig {
  std::optional<std::string> decay;    // cosine | linear | polynomial | exponential | wsd | constant; null is constant
  double warmup_fraction = 0.0;        // of all steps
  double warmup_evaluations = 0.0;     // in evaluations
  double eta_min = 0.0;                // the rate at the end; not of constant and exponential
  std::optional<int64_t> t_0;          // cosine: steps until the first restart; null: no restarts
  int64_t t_mult = 1;                  // cosine: each cycle is this times as long as the one before
  double power = 1.0;                  // polynomial
  double decay_fraction = 0.1;         // wsd: the share of all steps in which the rate falls
  std::string decay_shape = "linear";  // wsd: linear | 1-sqrt | cosine
  double decay_rate = 0.96;            // exponential
  int64_t decay_steps = 10000;         // exponential
  bool staircase = false;              // exponential
  bool operator==(const SchedulerConfig&) const = default;
};

struct OptimizerConfig {
  std::string type = "adamw";
  // Null where the type has no such key; resolution sets those that it has (optimizer_config.h).
  std::optional<std::vector<double>> betas;
  std::optional<double> eps;
  std::optional<double> weight_decay;
  std::optional<double> momentum;
  std::optional<double> dampening;
  std::optional<bool> nesterov;
  std::optional<double> beta1;  // adafactor's first moment; null: none
  std::optional<double> clip_threshold;
  std::optional<double> decay_rate;
  std::optional<int64_t> ns_steps;
  std::optional<std::string> adjust_lr_fn;  // original | match_rms_adamw
  std::vector<std::string> no_decay;        // parameters without weight decay, by name or part of it
  bool operator==(const OptimizerConfig&) const = default;
};

struct TrainerConfig {
  std::string type = "finetune";
  std::string dtype = "bfloat16";  // of the frozen base weights: bfloat16 | float32 | int8 | int4
  int64_t epochs = 100;
  std::optional<int64_t> train_steps;  // wins over epochs
  double learning_rate = 1e-3;
  // A step's size: exactly one of max_batch_tokens and effective_batch_size is set after resolution.
  std::optional<int64_t> max_batch_tokens;
  std::optional<int64_t> effective_batch_size;         // rows
  std::optional<int64_t> batch_size;                   // folded into effective_batch_size by resolution
  std::optional<int64_t> gradient_accumulation_steps;  // folded into effective_batch_size by resolution
  int64_t max_micro_batch_tokens = 1024;               // of one forward and backward pass; a longer row goes alone
  int64_t early_stop = 5;                              // evaluations without improvement; -1: never
  std::string validation_metric = "loss";              // what decides which evaluation is the best
  std::vector<std::string> evaluation_metrics;         // of generated answers, at every evaluation
  int64_t evaluation_rows = 32;                        // that are answered for them
  std::optional<int64_t> evaluate_every;               // steps; null: whenever a checkpoint is written
  int64_t steps_per_checkpoint = 0;                    // 0: see checkpoints_per_epoch
  int64_t checkpoints_per_epoch = 0;                   // 0: after every epoch
  SchedulerConfig learning_rate_scheduler;
  OptimizerConfig optimizer;
  double neftune_noise_alpha = 0.0;            // of the noise on embeddings while training; 0: none
  double ema_decay = 0.0;                      // of a moving average of the adapter; 0: none
  int64_t keep_checkpoints = 2;                // the newest; the best is kept beside them
  std::optional<double> clipglobalnorm = 0.5;  // key gradient_clipping.clipglobalnorm; null: no clipping
  std::optional<double> clipnorm;              // key gradient_clipping.clipnorm, of each parameter; adapter.type full
  std::optional<bool> enable_gradient_checkpointing;  // null: where it would not fit otherwise
  bool operator==(const TrainerConfig&) const = default;
};

struct GenerationConfig {
  int64_t max_new_tokens = 32;
  bool do_sample = true;
  double temperature = 0.1;
  std::optional<int64_t> top_k = 50;
  std::optional<double> top_p;
  double repetition_penalty = 1.0;
  bool operator==(const GenerationConfig&) const = default;
};

// Records beside the job directory's own (events.jsonl, report.html).
struct LoggingConfig {
  bool tensorboard = false;
  bool mlflow = false;
  std::optional<std::string> mlflow_directory;  // null: mlruns in the job directory
  std::string mlflow_experiment = "graft";
  bool operator==(const LoggingConfig&) const = default;
};

inline bool trains_all_weights(const AdapterConfig& adapter) { return adapter.type == "full"; }

// One fine-tuning run, as declared. The spelling and the defaults are Ludwig's; docs/config-reference.md lists every
// key, and where graft differs.
struct TrainingConfig {
  std::string model_type;  // llm
  std::string base_model;
  std::optional<std::string> dataset;
  std::vector<Feature> input_features;
  std::vector<Feature> output_features;
  PromptConfig prompt;
  PreprocessingConfig preprocessing;
  AdapterConfig adapter;
  TrainerConfig trainer;
  GenerationConfig generation;
  std::optional<int64_t> quantization_bits;  // key `quantization.bits`: 4 or 8; resolution sets trainer.dtype by it
  LoggingConfig logging;
  std::string backend = "local";
  int64_t random_seed = 42;
  bool operator==(const TrainingConfig&) const = default;
};

// Reads and resolves a config. The error lists every problem, one a line: "FILE:LINE: trainer.learning_rat: unknown
// key; did you mean learning_rate?".
Result<TrainingConfig> read_training_config(const ConfigTree& tree);

// The file at `path` with `--set` overrides ("trainer.epochs=3") on top.
Result<TrainingConfig> load_training_config(const std::string& path, const std::vector<std::string>& overrides = {});

// The resolved config, every key written out; reading it again gives an equal TrainingConfig.
ConfigNode to_node(const TrainingConfig& config);
std::string to_yaml(const TrainingConfig& config);

}  // namespace graft::recipe
