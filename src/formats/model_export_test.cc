#include "formats/model_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/gguf.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

// Models as Hugging Face directories: D/plain (tied, byte-level BPE, weights also as D/bin/pytorch_model.bin) and
// D/wide (Llama 3's rope and tokenizer with BOS, biases, rows of 256 and 512, an output of its own), D/piece
// (SentencePiece-like tokenizer). What the check scripts share is in common.py.
constexpr const char* kCommon = R"(
import sys, json, pathlib, shutil, torch, numpy as np, transformers, gguf
from transformers import LlamaConfig, LlamaForCausalLM, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from tokenizers import Tokenizer, Regex, models, pre_tokenizers, normalizers, decoders, trainers, processors, AddedToken
transformers.utils.logging.disable_progress_bar()
import tqdm.auto; torch.manual_seed(0)
d = pathlib.Path(sys.argv[1])
texts = ["the cat sat on the mat", " two  spaces\n\n12345 don't", "caf\u00e9 \u4f60\u597d \U0001F600", "<s>a</s><|x|>b"]
ids = torch.tensor([[1, 5, 9, 40, 41, 200, 7, 8, 33, 12]])
def logits(model): return model.eval()(ids).logits.detach()
)";

std::string python(const std::string& body, const TestDirectory& dir) {
  return run_python("import os; os.environ['TQDM_DISABLE'] = '1'\n" + std::string(kCommon) + body, {dir.path()});
}

constexpr const char* kModels = R"(
corpus = ["the cat sat on the mat and then the other cat sat there"] * 5
def byte_level(pre, post=None, ignore_merges=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    tok.add_tokens([AddedToken("<|x|>", normalized=False)])
    if post: tok.post_processor = post
    return tok
def save(name, tok, **options):
    sizes = dict(vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=50000.0, bos_token_id=0, eos_token_id=1, initializer_range=0.3)
    model = LlamaForCausalLM(LlamaConfig(**{**sizes, **options})).float()
    for p in model.parameters(): p.data.add_(torch.randn_like(p) * 0.02)
    model.generation_config.eos_token_id = [1, 2]
    model.save_pretrained(d / name)
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.chat_template = "{{ messages[0].content }}"
    fast.save_pretrained(d / name)
    return model
llama3 = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
plain = save("plain", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])), tie_word_embeddings=True)
shutil.copytree(d / "plain", d / "bin"); (d / "bin/model.safetensors").unlink()
torch.save({k: v for k, v in plain.state_dict().items() if k != "lm_head.weight"}, d / "bin/pytorch_model.bin")
bos = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 0)])
save("wide", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Split(llama3, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), bos, True),
     hidden_size=256, intermediate_size=512, num_hidden_layers=8, attention_bias=True, mlp_bias=True, initializer_range=0.1, rope_scaling={"rope_type": "llama3",
     "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})
piece = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
piece.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
piece.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=310, show_progress=False, special_tokens=["<s>", "</s>", "<pad>", "<unk>"] + [f"<0x{i:02X}>" for i in range(256)]))
state = json.loads(piece.to_str()); state["added_tokens"] = state["added_tokens"][:4]; piece = Tokenizer.from_str(json.dumps(state))
piece.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
piece.post_processor = bos
save("piece", piece)
)";

// The models take seconds to make; all tests use the same.
class ModelExport : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TestDirectory;
    made_ = python(kModels, *dir_);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(made_, ""); }

  static std::unique_ptr<ModelSource> open(const std::string& name) {
    auto source = ModelSource::open(*dir_ / name);
    EXPECT_TRUE(source.ok()) << source.error().message;
    return source.ok() ? std::move(source).value() : nullptr;
  }

  static ExportSummary write_gguf(const std::string& from, const std::string& to, const ExportOptions& options) {
    const auto summary = export_gguf(*open(from), *dir_ / to, options);
    EXPECT_TRUE(summary.ok()) << summary.error().message;
    return summary.ok() ? *summary : ExportSummary();
  }

  static TestDirectory* dir_;
  static std::string made_;
};
TestDirectory* ModelExport::dir_ = nullptr;
std::string ModelExport::made_;

ExportOptions as(ExportType type) {
  ExportOptions options;
  options.type = type;
  return options;
}

TEST_F(ModelExport, AGgufFileIsTheSameModelAndTransformersComputesTheSameLogits) {
  for (const std::string name : {"plain", "wide"}) {
    write_gguf(name, name + ".gguf", as(ExportType::kF32));
    const auto original = open(name);
    const auto exported = open(name + ".gguf");
    ASSERT_NE(exported, nullptr);
    ASSERT_EQ(exported->tensor_names(), original->tensor_names());
    for (const std::string& weight : original->tensor_names()) {
      EXPECT_EQ(exported->read(weight).value(), original->read(weight).value()) << weight;
    }
    EXPECT_EQ(exported->spec().rope.kind, original->spec().rope.kind);
    EXPECT_EQ(exported->spec().rope.factor, original->spec().rope.factor);
    EXPECT_EQ(exported->spec().eos_token_ids, original->spec().eos_token_ids);
    EXPECT_EQ(exported->spec().bos_token_id, original->spec().bos_token_id);
    EXPECT_EQ(exported->chat_template(), original->chat_template());
    EXPECT_EQ(exported->special_tokens(), original->special_tokens());
  }
  EXPECT_EQ(python(R"(
a = AutoModelForCausalLM.from_pretrained(d / "plain", torch_dtype=torch.float32)
b = AutoModelForCausalLM.from_pretrained(d, gguf_file="plain.gguf", torch_dtype=torch.float32)
difference = (logits(a) - logits(b)).abs().max().item()
assert difference < 1e-4, difference
r = gguf.GGUFReader(d / "wide.gguf")
get = lambda k: r.fields[k].contents()
assert get("general.architecture") == "llama" and get("llama.block_count") == 8 and get("general.file_type") == 0
assert (get("tokenizer.ggml.model"), get("tokenizer.ggml.pre"), get("tokenizer.ggml.add_bos_token")) == ("gpt2", "llama-bpe", True)
tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
assert len(tokens) == 320 and types[0] == 3 and types[tokens.index("<|x|>")] == 4 and tokens[319] == "[PAD319]" and types[319] == 5
)",
                   *dir_),
            "");
}

TEST_F(ModelExport, AHuggingFaceDirectoryMadeOfAGgufFileHasEqualLogitsAndTokens) {
  write_gguf("wide", "w.gguf", as(ExportType::kF32));
  write_gguf("plain", "p.gguf", as(ExportType::kF32));
  ExportOptions options = as(ExportType::kF32);
  options.max_shard_bytes = 1'000'000;
  for (const std::string name : {"w", "p"}) {
    const auto summary = export_safetensors(*open(name + ".gguf"), *dir_ / (name + "-hf"), options);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_EQ(summary->files.size() > 1, name == "w");
    EXPECT_NE(open(name + "-hf"), nullptr);
  }
  EXPECT_EQ(python(R"(
for a, b in (("wide", "w-hf"), ("plain", "p-hf")):
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(d / a, torch_dtype=torch.float32)), logits(AutoModelForCausalLM.from_pretrained(d / b, torch_dtype=torch.float32))), a
    x, y = AutoTokenizer.from_pretrained(d / a), AutoTokenizer.from_pretrained(d / b)
    for text in texts: assert x(text).input_ids == y(text).input_ids, (a, text, x(text).input_ids, y(text).input_ids)
    assert (x.bos_token, x.eos_token, x.pad_token, x.chat_template) == (y.bos_token, y.eos_token, y.pad_token, y.chat_template)
    assert transformers.GenerationConfig.from_pretrained(d / b).eos_token_id == [1, 2]
    assert AutoModelForCausalLM.from_pretrained(d / b, torch_dtype="auto").dtype == torch.float32
index = json.load(open(d / "w-hf/model.safetensors.index.json"))
assert index["metadata"]["total_size"] == sum(p.numel() * 4 for p in AutoModelForCausalLM.from_pretrained(d / "wide").parameters())
)",
                   *dir_),
            "");
}

TEST_F(ModelExport, ATorchCheckpointIsAModelAndIsWrittenAsSafetensors) {
  const auto summary = export_safetensors(*open("bin"), *dir_ / "from-bin", as(ExportType::kBF16));
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_THAT(summary->files, ElementsAre(*dir_ / "from-bin/model.safetensors"));
  EXPECT_EQ(python(R"(
a, b = (AutoModelForCausalLM.from_pretrained(d / n, torch_dtype="auto").state_dict() for n in ("plain", "from-bin"))
assert a.keys() == b.keys() and all(torch.equal(a[k].bfloat16(), b[k]) for k in a)
assert json.load(open(d / "from-bin/config.json")).get("dtype", json.load(open(d / "from-bin/config.json")).get("torch_dtype")) == "bfloat16"
)",
                   *dir_),
            "");
  EXPECT_EQ(export_safetensors(*open("bin"), *dir_ / "from-bin", as(ExportType::kBF16)).error().kind,
            ErrorKind::kConflict);
}

TEST_F(ModelExport, TypesFollowLlamaQuantizesRules) {
  EXPECT_THAT(write_gguf("wide", "q4.gguf", as(ExportType::kQ4K)).tensors_as,
              UnorderedElementsAre(Pair("F32", 18 + 7 * 8), Pair("Q6_K", 1 + 8), Pair("Q4_K", 1 + 7 * 8 - 8)));
  const GgufFile file = GgufFile::open(*dir_ / "q4.gguf").value();
  for (const auto& [name, dtype] : std::map<std::string, DType>{{"output.weight", DType::kQ6K},
                                                                {"token_embd.weight", DType::kQ4K},
                                                                {"blk.0.attn_v.weight", DType::kQ6K},
                                                                {"blk.1.attn_v.weight", DType::kQ4K},
                                                                {"blk.3.ffn_down.weight", DType::kQ6K},
                                                                {"blk.7.ffn_down.weight", DType::kQ6K},
                                                                {"blk.7.ffn_up.weight", DType::kQ4K},
                                                                {"blk.7.attn_norm.weight", DType::kF32},
                                                                {"blk.7.attn_q.bias", DType::kF32}}) {
    EXPECT_EQ(dtype_name(file.find(name)->dtype), dtype_name(dtype)) << name;
  }
  EXPECT_THAT(write_gguf("plain", "q4s.gguf", as(ExportType::kQ4K)).tensors_as,
              UnorderedElementsAre(Pair("F32", 5), Pair("Q8_0", 1 + 2), Pair("Q5_0", 12)));
  EXPECT_THAT(write_gguf("plain", "q8.gguf", as(ExportType::kQ8_0)).tensors_as,
              UnorderedElementsAre(Pair("F32", 5), Pair("Q8_0", 15)));
}

TEST_F(ModelExport, OverriddenWeightsAreWrittenInPlaceOfTheSources) {
  const auto source = open("plain");
  ExportOptions options = as(ExportType::kF32);
  options.read = [&](const std::string& name) -> Result<std::vector<float>> {
    GRAFT_TRY(std::vector<float> values, source->read(name));
    for (float& value : values) value *= 2;
    return values;
  };
  ASSERT_TRUE(export_gguf(*source, *dir_ / "double.gguf", options).ok());
  ASSERT_TRUE(export_safetensors(*source, *dir_ / "double", options).ok());
  for (const std::string& name : source->tensor_names()) {
    const std::vector<float> expected = options.read(name).value();
    EXPECT_EQ(open("double.gguf")->read(name).value(), expected) << name;
    EXPECT_EQ(open("double")->read(name).value(), expected) << name;
  }
  options.read = [](const std::string&) -> Result<std::vector<float>> { return std::vector<float>(1); };
  EXPECT_THAT(export_gguf(*source, *dir_ / "x.gguf", options).error().message, HasSubstr("1 values where"));
  options.read = [&](const std::string& name) -> Result<std::vector<float>> {
    GRAFT_TRY(std::vector<float> values, source->read(name));
    values[3] = std::nanf("");
    return values;
  };
  EXPECT_THAT(export_safetensors(*source, *dir_ / "x", options).error().message, HasSubstr("element 3 is NaN"));
  EXPECT_FALSE(fs::exists(*dir_ / "x.gguf"));
  EXPECT_FALSE(fs::exists(*dir_ / "x"));
}

// transformers' own reading of the "llama" kind, which rebuilds the merges from the scores.
TEST_F(ModelExport, ASentencePieceTokenizerKeepsItsIds) {
  const auto written = export_gguf(*open("piece"), *dir_ / "piece.gguf", as(ExportType::kF16));
  ASSERT_TRUE(written.ok()) << written.error().message;
  EXPECT_EQ(python(R"(
r = gguf.GGUFReader(d / "piece.gguf")
get = lambda k: r.fields[k].contents()
assert (get("tokenizer.ggml.model"), get("tokenizer.ggml.add_space_prefix"), get("tokenizer.ggml.add_bos_token")) == ("llama", True, True)
tokens, types, scores = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type"), get("tokenizer.ggml.scores")
assert types[3] == 2 and types[tokens.index("<0x41>")] == 6 and types[0] == 3
tok = Tokenizer.from_file(str(d / "piece/tokenizer.json"))
def by_scores(text):  # as llama.cpp merges: the neighbours with the highest score first, leftmost on a tie
    symbols = list("\u2581" + text.replace(" ", "\u2581"))
    while True:
        pairs = [(scores[tokens.index(a + b)], -i) for i, (a, b) in enumerate(zip(symbols, symbols[1:])) if a + b in tokens]
        if not pairs: break
        i = -max(pairs)[1]; symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]
    out = []
    for s in symbols: out += [tokens.index(s)] if s in tokens else [tokens.index(f"<0x{b:02X}>") for b in s.encode()]
    return out
for text in texts[:3] + ["thethe catcat othersat"]:
    assert by_scores(text) == tok.encode(text, add_special_tokens=False).ids, text
)",
                   *dir_),
            "");
}

TEST_F(ModelExport, WhatCannotBeWrittenIsRefusedWithTheReason) {
  EXPECT_THAT(export_safetensors(*open("plain"), *dir_ / "no", as(ExportType::kQ4K)).error().message,
              HasSubstr("no type q4_k"));
  fs::copy(*dir_ / "plain", *dir_ / "odd");
  const auto message = [&](const char* from, const std::string& to) -> std::string {
    std::string tokenizer = read_file(*dir_ / "plain/tokenizer.json").value();
    const size_t at = tokenizer.find(from);
    if (at == std::string::npos) return "'" + std::string(from) + "' is not there";
    tokenizer.replace(at, std::string(from).size(), to);
    EXPECT_TRUE(write_file_atomic(*dir_ / "odd/tokenizer.json", tokenizer).ok());
    const auto written = export_gguf(*open("odd"), *dir_ / "odd.gguf", as(ExportType::kF16));
    return written.ok() ? "accepted" : written.error().message;
  };
  EXPECT_THAT(message("\"type\": \"Digits\"", R"("type": "Whitespace")"), HasSubstr("Whitespace"));
  EXPECT_THAT(message("\"normalizer\": null", R"("normalizer": {"type": "Lowercase"})"), HasSubstr("'Lowercase'"));
  EXPECT_THAT(message("\"</s>\": 1", "\"</s>\": 400"), HasSubstr("beyond the embedding's rows"));
  EXPECT_EQ(message("\"normalizer\": null", R"("normalizer": {"type": "NFC"})"), "accepted");
}

}  // namespace
}  // namespace graft::formats
