#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"
#include "formats/pattern.h"
#include "formats/peft_adapter.h"
#include "formats/safetensors_writer.h"
#include "formats/tiny_spec.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

ModelSpec tiny() { return tiny_spec(3); }

constexpr const char* kTinyModel = R"(
import sys, json, torch
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model, PeftModel
torch.manual_seed(0)
def base(): return LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32))
def describe(model):
    out = []
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            out.append((name.removeprefix("base_model.model."), module.r["default"], round(module.scaling["default"], 9),
                round(module.lora_A["default"].weight.sum().item(), 4), round(module.lora_B["default"].weight.sum().item(), 4)))
    return sorted(out)
)";

std::string number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

double sum(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(to_float32(view, values).ok());
  double total = 0;
  for (const float value : values) total += static_cast<double>(value);
  return total;
}

TEST(Peft, EverySettingSelectsTheModulesRanksAndScalesThatPeftDoes) {
  const std::vector<std::string> settings = {
      "target_modules=['q_proj', 'v_proj'], r=5, lora_alpha=7",
      "target_modules='all-linear', r=3, lora_alpha=16, use_rslora=True",
      R"(target_modules=r'.*layers\.[12]\.(mlp\.(up|down)_proj|self_attn\.o_proj)', r=4)",
      "target_modules=['q_proj', 'lm_head', 'model.layers.1.mlp.up_proj'], r=2, lora_alpha=3",
      "target_modules=['q_proj', 'k_proj', 'gate_proj'], r=4, lora_alpha=8, use_rslora=True, "
      R"(rank_pattern={r'layers\.1\.self_attn\.q_proj': 7, 'q_proj': 6, '^model.layers.2.self_attn.k_proj': 9}, )"
      R"(alpha_pattern={'k_proj': 24, r'.*layers\.0.*gate_proj': 2})",
      "target_modules=['q_proj', 'k_proj'], r=4, layers_to_transform=[0, 2]",
      "target_modules=['q_proj', 'k_proj'], r=4, layers_to_transform=1, layers_pattern='layers'",
      "target_modules=['q_proj', 'k_proj', 'v_proj'], r=4, exclude_modules=['k_proj']",
      R"(target_modules='all-linear', r=4, exclude_modules=r'.*\.mlp\..*')",
      "target_modules=['up_proj'], r=4, init_lora_weights='gaussian', lora_dropout=0.25",
  };
  TestDirectory dir;
  std::vector<std::string> arguments = {dir.path()};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  const std::string printed = run_python(std::string(kTinyModel) + R"py(
for i, setting in enumerate(sys.argv[2:]):
    model = get_peft_model(base(), eval(f"LoraConfig(task_type='CAUSAL_LM', {setting})"))
    for name, p in model.named_parameters():
        if "lora_" in name: p.data = torch.randn_like(p)
    model.save_pretrained(f"{sys.argv[1]}/{i}", save_embedding_layers=False)
    for row in describe(model): print(i, *row)
)py",
                                         arguments);
  std::multiset<std::string> theirs;
  std::istringstream stream(printed);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string index;
    std::string path;
    double r = 0;
    double scale = 0;
    double a = 0;
    double b = 0;
    ASSERT_TRUE(words >> index >> path >> r >> scale >> a >> b) << printed;
    theirs.insert(index + " " + path + " " + number(r) + " " + number(scale) + " " + number(std::round(a * 100)));
  }
  std::multiset<std::string> ours;
  for (size_t i = 0; i < settings.size(); ++i) {
    const auto adapter = PeftAdapter::open(dir / std::to_string(i), tiny());
    ASSERT_TRUE(adapter.ok()) << settings[i] << ": " << adapter.error().message;
    for (const AdapterModule& module : adapter->modules()) {
      EXPECT_EQ(module.a.shape[0], module.slot.r);
      ours.insert(std::to_string(i) + " " + module.slot.path + " " + number(static_cast<double>(module.slot.r)) + " " +
                  number(module.slot.scale) + " " + number(std::round(sum(module.a) * 100)));
    }
  }
  EXPECT_EQ(ours, theirs);
  EXPECT_GT(ours.size(), 60U);
}

TEST(Peft, DoraMagnitudesAndTorchFilesAreReadAsPeftWroteThem) {
  TestDirectory dir;
  const std::string printed = run_python(std::string(kTinyModel) + R"py(
model = get_peft_model(base(), LoraConfig(task_type='CAUSAL_LM', r=3, use_dora=True, target_modules=['q_proj', 'up_proj']))
for name, p in model.named_parameters():
    if "lora_" in name: p.data = torch.randn_like(p)
model.save_pretrained(sys.argv[1] + "/dora", save_embedding_layers=False)
model.save_pretrained(sys.argv[1] + "/torch", save_embedding_layers=False, safe_serialization=False)
for name, module in model.named_modules():
    if hasattr(module, "lora_A"):
        print(name.removeprefix("base_model.model."), round(module.lora_magnitude_vector["default"].weight.sum().item() * 100))
)py",
                                         {dir.path()});
  EXPECT_TRUE(fs::exists(dir / "torch/adapter_model.bin"));
  EXPECT_FALSE(fs::exists(dir / "torch/adapter_model.safetensors"));
  for (const char* name : {"dora", "torch"}) {
    EXPECT_THAT(PeftAdapter::open(dir / name, tiny()).error().message, HasSubstr("DoRA cannot be applied here"));
    const auto adapter = PeftAdapter::open(dir / name, tiny(), {.dora = true});
    ASSERT_TRUE(adapter.ok()) << adapter.error().message;
    std::string ours;
    for (const AdapterModule& module : adapter->modules()) {
      ASSERT_TRUE(module.magnitude.has_value());
      ours += module.slot.path + " " + number(std::round(sum(*module.magnitude) * 100)) + "\n";
    }
    EXPECT_EQ(ours, printed + "\n");
  }
}

// Factors with recognisable values for every module of the configuration.
struct Made {
  std::vector<AdapterSlot> slots;
  std::vector<std::vector<float>> values;
  std::vector<AdapterFactors> factors;
};

Made make_factors(const PeftConfig& config, const ModelSpec& spec) {
  Made made;
  made.slots = adapter_slots(config, spec).value();
  made.values.reserve(made.slots.size() * 2);
  for (const AdapterSlot& slot : made.slots) {
    made.values.emplace_back(static_cast<size_t>(slot.r * slot.in), 0.25F);
    made.values.emplace_back(static_cast<size_t>(slot.out * slot.r), -0.5F);
    made.factors.push_back(
        {slot.path, slot.r, slot.in, slot.out, made.values[made.values.size() - 2], made.values.back()});
  }
  return made;
}

PeftConfig some_config() {
  PeftConfig config;
  config.r = 4;
  config.lora_alpha = 8;
  config.use_rslora = true;
  config.lora_dropout = 0.125;
  config.target_modules.names = {"v_proj", "q_proj"};
  config.rank_pattern = {{"layers\\.1\\.self_attn\\.q_proj", 3}, {"q_proj", 5}};
  config.alpha_pattern = {{"v_proj", 2.0}};
  config.base_model_name_or_path = "some/base";
  return config;
}

TEST(Peft, LoadsWhatIsWrittenHereAsTheSameAdapter) {
  TestDirectory dir;
  const Made made = make_factors(some_config(), tiny());
  ASSERT_TRUE(write_peft_adapter(dir / "adapter", some_config(), made.factors).ok());
  const std::string printed = run_python(std::string(kTinyModel) + R"(
model = PeftModel.from_pretrained(base(), sys.argv[1])
for row in describe(model): print(*row[:3], row[3] / row[1], row[4] / row[1])
from safetensors import safe_open
with safe_open(sys.argv[1] + "/adapter_model.safetensors", "pt") as f: print(f.metadata(), len(f.keys()))
config = json.load(open(sys.argv[1] + "/adapter_config.json"))
assert list(config) == sorted(config), list(config)
assert isinstance(config["lora_alpha"], int) and list(config["rank_pattern"])[1] == "q_proj"
)",
                                         {dir / "adapter"});
  std::string expected;
  for (int layer = 0; layer < 3; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    expected += prefix + (layer == 1 ? "q_proj 3 4.618802154" : "q_proj 5 3.577708764") + " 4.0 -8.0\n";
    expected += prefix + "v_proj 4 1.0 4.0 -4.0\n";
  }
  EXPECT_EQ(printed, expected + "{'format': 'pt'} 12");
  const auto again = PeftAdapter::open(dir / "adapter", tiny());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->config().rank_pattern, some_config().rank_pattern);
  EXPECT_EQ(again->config().lora_dropout, 0.125);
  EXPECT_EQ(again->modules().size(), made.slots.size());
  EXPECT_EQ(again->digest().size(), 64U);
}

TEST(Peft, DoraThatIsWrittenHereIsReadAgainAndLacksNothing) {
  PeftConfig config = some_config();
  config.use_dora = true;
  Made made = make_factors(config, tiny());
  const std::vector<float> magnitude(64, 1.5F);
  TestDirectory dir;
  EXPECT_FALSE(write_peft_adapter(dir / "adapter", config, made.factors).ok());
  for (AdapterFactors& module : made.factors)
    module.magnitude = std::span(magnitude).first(static_cast<size_t>(module.out));
  ASSERT_TRUE(write_peft_adapter(dir / "adapter", config, made.factors).ok());
  const auto adapter = PeftAdapter::open(dir / "adapter", tiny(), {.dora = true});
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  EXPECT_EQ(adapter->modules().front().magnitude->shape, std::vector<int64_t>{adapter->modules().front().slot.out});
  // A LoRA's file does not do for a DoRA's configuration.
  ASSERT_TRUE(write_peft_adapter(dir / "lora", some_config(), make_factors(some_config(), tiny()).factors).ok());
  fs::copy_file(dir / "adapter/adapter_config.json", dir / "lora/adapter_config.json",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(PeftAdapter::open(dir / "lora", tiny(), {.dora = true}).error().message,
              HasSubstr("has no lora_magnitude_vector"));
}

std::string config_refusal(const std::string& json) {
  const auto config = parse_peft_config(json);
  return config.ok() ? "accepted" : config.error().message;
}

TEST(Peft, WhatCannotBeHonouredIsRefusedByName) {
  const auto with = [](const std::string& more) {
    return config_refusal(R"({"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj"])" + more + "}");
  };
  EXPECT_EQ(with(""), "accepted");
  EXPECT_EQ(
      with(
          R"(,"lora_bias":false,"modules_to_save":null,"loftq_config":{},"peft_version":"9","trainable_token_indices":null)"),
      "accepted");
  EXPECT_EQ(with(R"(,"use_dora":true)"), "accepted");  // whoever cannot apply it refuses it on opening
  EXPECT_THAT(with(R"(,"lora_bias":true)"), HasSubstr("'lora_bias' is set"));
  EXPECT_THAT(with(R"(,"from_the_future":3)"), HasSubstr("'from_the_future' is set"));
  EXPECT_THAT(with(R"(,"bias":"all")"), HasSubstr("bias 'all'"));
  EXPECT_THAT(with(R"(,"modules_to_save":["lm_head"])"), HasSubstr("modules_to_save ('lm_head')"));
  EXPECT_THAT(with(R"(,"fan_in_fan_out":true)"), HasSubstr("fan_in_fan_out"));
  EXPECT_THAT(with(R"(,"init_lora_weights":"pissa")"), HasSubstr("changes the base weights"));
  EXPECT_EQ(with(R"(,"task_type":"SEQ_CLS","modules_to_save":["classifier","score"])"), "accepted");  // likewise
  EXPECT_THAT(with(R"(,"task_type":"SEQ_2_SEQ_LM")"), HasSubstr("'SEQ_2_SEQ_LM'"));
  EXPECT_THAT(with(R"(,"rank_pattern":{"q_proj":0})"), HasSubstr("between 1 and"));
  EXPECT_THAT(with(R"(,"alpha_pattern":{"q_proj":"x"})"), HasSubstr("must be a number"));
  EXPECT_THAT(config_refusal(R"({"peft_type":"IA3"})"), HasSubstr("peft_type 'IA3'"));
  EXPECT_THAT(config_refusal(R"({"peft_type":"LORA","lora_alpha":8})"), HasSubstr("'r' is missing"));
  EXPECT_THAT(config_refusal(R"({"peft_type":"LORA","r":-1,"lora_alpha":8})"), HasSubstr("'r' must be between"));
  EXPECT_THAT(config_refusal("{"), HasSubstr("not valid JSON"));
}

TEST(Peft, TargetsThatMatchNothingAreErrors) {
  const auto refusal = [](const std::function<void(PeftConfig&)>& change) {
    PeftConfig config = some_config();
    change(config);
    const auto slots = adapter_slots(config, tiny());
    return slots.ok() ? "accepted" : slots.error().message;
  };
  EXPECT_EQ(refusal([](PeftConfig&) {}), "accepted");
  EXPECT_THAT(refusal([](PeftConfig& c) { c.target_modules.names = {"q_porj"}; }), HasSubstr("did you mean 'q_proj'"));
  EXPECT_THAT(refusal([](PeftConfig& c) { c.target_modules.names = {}; }), HasSubstr("selects no linear layer"));
  EXPECT_THAT(refusal([](PeftConfig& c) { c.target_modules.names = {"embed_tokens"}; }), HasSubstr("embedding"));
  EXPECT_THAT(refusal([](PeftConfig& c) { c.target_modules = {PeftModules::Kind::kRegex, {}, "q_proj"}; }),
              HasSubstr("'target_modules' 'q_proj' selects no linear"));
  EXPECT_THAT(refusal([](PeftConfig& c) { c.target_modules = {PeftModules::Kind::kRegex, {}, "(q"}; }),
              HasSubstr("not a valid expression"));
  EXPECT_THAT(refusal([](PeftConfig& c) { c.layers_to_transform = {7}; }), HasSubstr("selects no linear"));
  EXPECT_THAT(refusal([](PeftConfig& c) {
                c.layers_to_transform = {0};
                c.layers_pattern = {"h"};
              }),
              HasSubstr("'h' names no module list"));
}

class PeftFile : public testing::Test {
 protected:
  void SetUp() override {
    made_ = make_factors(some_config(), tiny());
    ASSERT_TRUE(write_peft_adapter(dir_ / "adapter", some_config(), made_.factors).ok());
  }
  std::string refusal(const ModelSpec& base = tiny()) {
    const auto adapter = PeftAdapter::open(dir_ / "adapter", base);
    return adapter.ok() ? "accepted" : adapter.error().message;
  }
  TestDirectory dir_;
  Made made_;
};

TEST_F(PeftFile, AnAdapterForAnotherBaseNamesTheModuleThatShowsIt) {
  EXPECT_EQ(refusal(), "accepted");
  ModelSpec shallow = tiny();
  shallow.num_layers = 2;
  EXPECT_THAT(refusal(shallow),
              AllOf(HasSubstr("'model.layers.2.self_attn."), HasSubstr("another base model ('some/base')")));
  ModelSpec deep = tiny();
  deep.num_layers = 4;
  EXPECT_THAT(refusal(deep), AllOf(HasSubstr("'model.layers.3.self_attn."), HasSubstr("another base model")));
  ModelSpec wide = tiny();
  wide.hidden_size = 32;
  EXPECT_THAT(refusal(wide), AllOf(HasSubstr("has shape [5, 16] where [5, 32]"), HasSubstr("another base model")));
}

TEST_F(PeftFile, DamagedOrIncompleteAdaptersAreRefused) {
  made_.values[0][3] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(write_peft_adapter(dir_ / "adapter", some_config(), made_.factors).ok());
  EXPECT_THAT(refusal(), AllOf(HasSubstr("q_proj.lora_A.weight"), HasSubstr("element 3 is NaN")));
  PeftConfig other = some_config();
  other.rank_pattern = {};
  ASSERT_TRUE(write_file_atomic(dir_ / "adapter/adapter_config.json", peft_config_json(other)).ok());
  EXPECT_THAT(refusal(), HasSubstr("adapter_config.json says rank 4"));
  other = some_config();
  other.target_modules.names = {"q_proj"};
  ASSERT_TRUE(write_file_atomic(dir_ / "adapter/adapter_config.json", peft_config_json(other)).ok());
  made_.values[0][3] = 0;
  ASSERT_TRUE(write_peft_files(dir_ / "adapter", other, made_.factors).ok());
  EXPECT_THAT(refusal(), HasSubstr("does not target it"));
  fs::remove(dir_ / "adapter/adapter_model.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("no adapter_model.safetensors"));
  fs::remove(dir_ / "adapter/adapter_config.json");
  EXPECT_THAT(refusal(), HasSubstr("no adapter_config.json"));
}

TEST_F(PeftFile, TensorsThatAreNoLoraFactorsAreNamed) {
  const std::vector<float> values(16);
  for (const char* name : {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
                           "base_model.model.model.embed_tokens.lora_embedding_A", "q_proj.lora_A.weight",
                           "base_model.model.lora_A.weight"}) {
    const std::vector<TensorView> tensors = {{name, DType::kF32, {16}, std::as_bytes(std::span(values))}};
    ASSERT_TRUE(write_safetensors(dir_ / "adapter/adapter_model.safetensors", tensors).ok());
    EXPECT_THAT(refusal(), AllOf(HasSubstr(name), HasSubstr("no LoRA factor")));
  }
}

TEST_F(PeftFile, CopiesOfBaseWeightsAreRefusedWithTheRemedy) {
  const std::vector<float> values(16);
  const std::vector<TensorView> tensors = {
      {"base_model.model.lm_head.base_layer.weight", DType::kF32, {16}, std::as_bytes(std::span(values))}};
  ASSERT_TRUE(write_safetensors(dir_ / "adapter/adapter_model.safetensors", tensors).ok());
  EXPECT_THAT(refusal(), HasSubstr("save_embedding_layers=False"));
}

TEST_F(PeftFile, CutAndMutatedFilesNeverCrash) {
  for (const char* name : {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}) {
    const std::string good = read_file(dir_ / name).value();
    const auto write = [&](const std::string& bytes) { std::ofstream(dir_ / name, std::ios::binary) << bytes; };
    std::mt19937 random(3);
    for (size_t length = 0; length + 2 < good.size(); length += 1 + good.size() / 200) {
      write(good.substr(0, length));
      EXPECT_NE(refusal(), "accepted") << name << " " << length;
    }
    for (int i = 0; i < 300; ++i) {
      std::string mutant = good;
      mutant[random() % std::min<size_t>(mutant.size(), 600)] = static_cast<char>(random());
      write(mutant);
      (void)refusal();
    }
    write(good);
  }
}

TEST(Pattern, MatchesLikePythonsFullmatch) {
  const auto match = [](const std::string& expression, const char* text) {
    return Pattern::compile(expression)->full_match(text).value();
  };
  EXPECT_TRUE(match(R"(.*\.(q|v)_proj)", "model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(match(R"(.*\.(q|v)_proj)", "model.layers.0.self_attn.q_proj.x"));
  EXPECT_TRUE(match("a|ab", "ab"));
  EXPECT_TRUE(match(R"(layers\.(?!1\b)\d+)", "layers.10"));
  EXPECT_FALSE(match(R"(layers\.(?!1\b)\d+)", "layers.1"));
  EXPECT_TRUE(match("(?P<x>a)(?P=x)", "aa"));
}

TEST(Pattern, ExpressionsThatExplodeAreAnError) {
  const auto pattern = Pattern::compile("(a*)*(a*)*(a*)*(a*)*b");
  ASSERT_TRUE(pattern.ok());
  EXPECT_FALSE(pattern->full_match(std::string(200, 'a')).ok());
  EXPECT_FALSE(Pattern::compile(std::string(20000, '(')).ok());
}

}  // namespace
}  // namespace graft::formats
