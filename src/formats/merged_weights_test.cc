// Folding adapters into weights, against PEFT's merge_and_unload.
#include "formats/merged_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/gguf_types.h"
#include "formats/model_export.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

// D/base, and per kind of adapter D/KIND and PEFT's own merge of it, D/KIND-merged; the factors are random, DoRA's
// magnitudes are moved away from the norms that they begin with.
constexpr const char* kCommon = R"py(
import sys, pathlib, torch, numpy as np
from transformers import LlamaConfig, LlamaForCausalLM, AutoModelForCausalLM, PreTrainedTokenizerFast
from tokenizers import Tokenizer, models, pre_tokenizers, decoders
from safetensors.torch import load_file, save_file
from peft import LoraConfig, PeftModel, get_peft_model
d = pathlib.Path(sys.argv[1])
kinds = {
    "lora": dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]),
    "rslora": dict(r=4, lora_alpha=8, use_rslora=True, target_modules="all-linear"),
    "patterns": dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"], rank_pattern={"layers.1.self_attn.v_proj": 2},
                     alpha_pattern={"q_proj": 5}),
    "dora": dict(r=4, lora_alpha=8, use_dora=True, target_modules="all-linear"),
}
def base(dtype=torch.float32): return LlamaForCausalLM.from_pretrained(d / "base", dtype=dtype)
)py";
constexpr const char* kMake = R"py(
torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(vocab_size=258, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, tie_word_embeddings=True)).save_pretrained(d / "base")
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tok = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(alphabet)}, merges=[]))
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False); tok.decoder = decoders.ByteLevel()
tok.add_special_tokens(["<s>", "</s>"])
fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>")
fast.chat_template = "{{ messages[0].content }}"; fast.save_pretrained(d / "base")
for kind, options in kinds.items():
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **options))
    for name, p in model.named_parameters():
        if "magnitude" in name: p.data *= 1 + 0.3 * torch.rand_like(p)
        elif "lora_" in name: p.data = torch.randn_like(p) * 0.3
    model.save_pretrained(d / kind)
    PeftModel.from_pretrained(base(), d / kind).merge_and_unload().save_pretrained(d / f"{kind}-merged")
)py";

std::string python(const std::string& body, const TestDirectory& dir) {
  return run_python("import os; os.environ['TQDM_DISABLE'] = '1'\n" + std::string(kCommon) + body, {dir.path()});
}

class MergedWeightsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TestDirectory;
    made_ = python(kMake, *dir_);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(made_, ""); }

  static std::unique_ptr<ModelSource> base() { return std::move(ModelSource::open(*dir_ / "base")).value(); }

  static Result<ExportSummary> write(const std::string& adapter, const std::string& to, ExportOptions options) {
    const auto source = base();
    const auto merged = MergedWeights::open(*source, *dir_ / adapter);
    if (!merged.ok()) return merged.error();
    options.read = [&](const std::string& name) { return merged->read(name); };
    return export_safetensors(*source, *dir_ / to, options);
  }

  static TestDirectory* dir_;
  static std::string made_;
};
TestDirectory* MergedWeightsTest::dir_ = nullptr;
std::string MergedWeightsTest::made_;

ExportOptions as(ExportType type) {
  ExportOptions options;
  options.type = type;
  return options;
}

TEST_F(MergedWeightsTest, AreThoseOfPeftsMergeAndUnload) {
  for (const std::string kind : {"lora", "rslora", "patterns", "dora"}) {
    const auto summary = write(kind, kind + "-ours", as(ExportType::kF32));
    ASSERT_TRUE(summary.ok()) << summary.error().message;
  }
  EXPECT_EQ(python(R"py(
for kind in kinds:
    ours, theirs, before = (load_file(d / name / "model.safetensors") for name in (f"{kind}-ours", f"{kind}-merged", "base"))
    assert set(ours) == set(theirs), kind
    changed = 0
    for name in ours:
        largest = (ours[name] - theirs[name]).abs().max().item() / max(1.0, theirs[name].abs().max().item())
        assert largest < 1e-6, (kind, name, largest)
        changed += not torch.equal(ours[name], before[name])
    assert changed == sum(1 for n in load_file(d / kind / "adapter_model.safetensors") if "lora_A" in n), kind
    # And transformers loads what was written.
    ids = torch.tensor([[5, 9, 40, 41, 200, 7]])
    merged = AutoModelForCausalLM.from_pretrained(d / f"{kind}-ours").eval()(ids).logits
    apart = PeftModel.from_pretrained(base(), d / kind).eval()(ids).logits
    assert (merged - apart).abs().max().item() < 1e-3, kind
)py",
                   *dir_),
            "");
}

TEST_F(MergedWeightsTest, InSixteenBitsAreTheFloat32SumsRounded) {
  for (const std::string kind : {"lora", "dora"}) {
    ASSERT_TRUE(write(kind, kind + "-bf16", as(ExportType::kBF16)).ok());
    ASSERT_TRUE(write(kind, kind + "-f16", as(ExportType::kF16)).ok());
  }
  EXPECT_EQ(python(R"py(
import json
for kind in ("lora", "dora"):
    exact = load_file(d / f"{kind}-merged" / "model.safetensors")
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        ours = load_file(d / f"{kind}-{name}" / "model.safetensors")
        config = json.load(open(d / f"{kind}-{name}" / "config.json"))
        assert (config.get("torch_dtype") or config.get("dtype")) == str(dtype).split(".")[1]
        for key, value in ours.items():
            assert value.dtype == dtype
            want = exact[key].to(dtype)
            # float32 sums that differ in the last bit may round to neighbours.
            differing = (value != want).float().mean().item()
            assert differing < 1e-3, (kind, name, key, differing)
            assert torch.allclose(value.float(), want.float(), rtol=2 ** -7, atol=1e-6)
)py",
                   *dir_),
            "");
}

TEST_F(MergedWeightsTest, AreSplitIntoShardsThatTransformersReads) {
  ExportOptions options = as(ExportType::kF32);
  options.max_shard_bytes = 60'000;
  const auto summary = write("lora", "lora-shards", options);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_GT(summary->files.size(), 2U);
  EXPECT_EQ(python(R"py(
whole = AutoModelForCausalLM.from_pretrained(d / "lora-merged").state_dict()
parts = AutoModelForCausalLM.from_pretrained(d / "lora-shards").state_dict()
assert all((whole[k] - parts[k]).abs().max().item() < 1e-6 for k in whole)
for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    assert (d / "lora-shards" / name).exists(), name
)py",
                   *dir_),
            "");
}

TEST_F(MergedWeightsTest, GetAGenerationConfigWhereTheBaseHasNone) {
  EXPECT_EQ(
      python("import shutil; shutil.copytree(d / 'base', d / 'plain'); (d / 'plain/generation_config.json').unlink()",
             *dir_),
      "");
  const auto source = ModelSource::open(*dir_ / "plain");
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE(export_safetensors(**source, *dir_ / "plain-out", as(ExportType::kBF16)).ok());
  EXPECT_EQ(python(R"py(
from transformers import GenerationConfig
made = GenerationConfig.from_pretrained(d / "plain-out")
want = AutoModelForCausalLM.from_pretrained(d / "plain").config
assert (made.bos_token_id, made.eos_token_id) == (want.bos_token_id, want.eos_token_id)
)py",
                   *dir_),
            "");
}

TEST_F(MergedWeightsTest, OfAGgufFileStartFromItsDequantisedValues) {
  const auto original = base();
  ASSERT_TRUE(export_gguf(*original, *dir_ / "base-q8.gguf", as(ExportType::kQ8_0)).ok());
  const auto quantised = std::move(ModelSource::open(*dir_ / "base-q8.gguf")).value();
  const auto merged = MergedWeights::open(*quantised, *dir_ / "lora");
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  ExportOptions options = as(ExportType::kF32);
  options.read = [&](const std::string& name) { return merged->read(name); };
  ASSERT_TRUE(export_safetensors(*quantised, *dir_ / "lora-q8", options).ok());
  EXPECT_EQ(python(R"py(
import gguf
ours, exact, before = (load_file(d / name / "model.safetensors") for name in ("lora-q8", "lora-merged", "base"))
tensors = {t.name: t for t in gguf.GGUFReader(d / "base-q8.gguf").tensors}
down = tensors["blk.0.ffn_down.weight"]
want = gguf.quants.dequantize(down.data, down.tensor_type)
key = "model.layers.0.mlp.down_proj.weight"
delta = exact[key] - before[key]
assert (ours[key] - torch.from_numpy(want.copy()) - delta).abs().max().item() < 1e-5
assert AutoModelForCausalLM.from_pretrained(d / "lora-q8") is not None
)py",
                   *dir_),
            "");
}

TEST_F(MergedWeightsTest, GoIntoAGgufFile) {
  const auto source = base();
  const auto merged = MergedWeights::open(*source, *dir_ / "rslora");
  ASSERT_TRUE(merged.ok());
  ExportOptions options = as(ExportType::kF32);
  options.read = [&](const std::string& name) { return merged->read(name); };
  ASSERT_TRUE(export_gguf(*source, *dir_ / "rslora.gguf", options).ok());
  const auto back = ModelSource::open(*dir_ / "rslora.gguf");
  ASSERT_TRUE(back.ok()) << back.error().message;
  for (const std::string& name : source->tensor_names()) {
    EXPECT_EQ((*back)->read(name).value(), merged->read(name).value()) << name;
  }
}

TEST_F(MergedWeightsTest, AreRefusedWhereTheyWouldBeWrong) {
  EXPECT_EQ(python(R"py(
import json, shutil
def variant(name, change, config=None):
    shutil.copytree(d / "lora", d / name)
    tensors = load_file(d / name / "adapter_model.safetensors"); change(tensors)
    save_file(tensors, d / name / "adapter_model.safetensors")
    if config: c = json.load(open(d / name / "adapter_config.json")); c.update(config); json.dump(c, open(d / name / "adapter_config.json", "w"))
def huge(t):
    for k in t: t[k] = torch.full_like(t[k], 3e38)
variant("huge", huge)
def head(t):
    t.clear(); t["base_model.model.lm_head.lora_A.weight"] = torch.ones(4, 64); t["base_model.model.lm_head.lora_B.weight"] = torch.ones(258, 4)
variant("head", head, {"target_modules": ["lm_head"]})
)py",
                   *dir_),
            "");
  const auto overflow = write("huge", "huge-merged", as(ExportType::kF32));
  ASSERT_FALSE(overflow.ok());
  EXPECT_THAT(overflow.error().message, AllOf(HasSubstr("q_proj"), HasSubstr("NaN or infinite")));
  EXPECT_FALSE(fs::exists(*dir_ / "huge-merged"));
  const auto tied = write("head", "head-merged", as(ExportType::kF32));
  ASSERT_FALSE(tied.ok());
  EXPECT_THAT(tied.error().message, AllOf(HasSubstr("lm_head.weight"), HasSubstr("ties")));
  EXPECT_THAT(write("nothing", "x", as(ExportType::kF32)).error().message, HasSubstr("not a PEFT adapter"));
  fs::create_directory(*dir_ / "taken");
  ASSERT_TRUE(write_file_atomic(*dir_ / "taken/file", "x").ok());
  EXPECT_THAT(write("lora", "taken", as(ExportType::kF32)).error().message, HasSubstr("exists already"));
}

TEST_F(MergedWeightsTest, AnAdapterIsWrittenForPeftAsItIsOrInAnotherType) {
  const ModelSpec spec = base()->spec();
  ASSERT_TRUE(write_file_atomic(*dir_ / "dora/certificate.json", "{}").ok());
  const auto same = export_peft(*dir_ / "dora", spec, *dir_ / "dora-same", {});
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ(read_file(*dir_ / "dora-same/adapter_model.safetensors").value(),
            read_file(*dir_ / "dora/adapter_model.safetensors").value());
  EXPECT_TRUE(fs::exists(*dir_ / "dora-same/certificate.json"));
  const auto half = export_peft(*dir_ / "dora", spec, *dir_ / "dora-half", ExportType::kBF16);
  ASSERT_TRUE(half.ok()) << half.error().message;
  EXPECT_FALSE(fs::exists(*dir_ / "dora-half/certificate.json"));
  EXPECT_EQ(2 * half->weight_bytes, same->weight_bytes);
  EXPECT_THAT(export_peft(*dir_ / "dora", spec, *dir_ / "x", ExportType::kQ8_0).error().message,
              HasSubstr("no type q8_0"));
  EXPECT_EQ(python(R"py(
exact = load_file(d / "dora" / "adapter_model.safetensors")
half = load_file(d / "dora-half" / "adapter_model.safetensors")
assert set(exact) == set(half) and all(torch.equal(half[k], exact[k].to(torch.bfloat16)) for k in exact)
torch.save(exact, d / "dora-same" / "adapter_model.bin"); (d / "dora-same" / "adapter_model.safetensors").unlink()
ids = torch.tensor([[5, 9, 40, 41, 200, 7]])
assert PeftModel.from_pretrained(base(), d / "dora-half").eval()(ids).logits.isfinite().all()
)py",
                   *dir_),
            "");
  const auto pickled = export_peft(*dir_ / "dora-same", spec, *dir_ / "dora-bin", {});
  ASSERT_TRUE(pickled.ok()) << pickled.error().message;
  EXPECT_FALSE(fs::exists(*dir_ / "dora-bin/certificate.json"));
  EXPECT_EQ(python(R"py(
a, b = (load_file(d / n / "adapter_model.safetensors") for n in ("dora", "dora-bin"))
assert set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)
)py",
                   *dir_),
            "");
}

}  // namespace
}  // namespace graft::formats
