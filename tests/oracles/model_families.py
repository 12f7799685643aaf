"""Tiny random models of every family, for src/formats/hf_config_test.cc.

    python3 -m tests.oracles.model_families all FOLDER

For every case below: FOLDER/NAME/config.json as transformers saves it, and FOLDER/NAME/weights.json: {"parameters": its
own count, "tensors": {name: shape} of the state as it is saved}.
"""

import json
import pathlib
import struct
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 16.0, "attention_factor": 1.5}
LONG = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
GPT2 = dict(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)

# name: (model type, settings of the configuration)
CASES = {
    "llama": ("llama", SMALL),
    "llama_biases": ("llama", dict(SMALL, attention_bias=True, mlp_bias=True, head_dim=16, tie_word_embeddings=True)),
    "llama3": ("llama", dict(SMALL, rope_scaling=LLAMA3, rope_theta=500000.0)),
    "llama_linear": ("llama", dict(SMALL, rope_scaling={"rope_type": "linear", "factor": 2.0})),
    "llama_dynamic": ("llama", dict(SMALL, rope_scaling={"rope_type": "dynamic", "factor": 2.0})),
    "llama_yarn": ("llama", dict(SMALL, rope_scaling=YARN)),
    "mistral": ("mistral", dict(SMALL, sliding_window=16)),
    "mistral_full": ("mistral", dict(SMALL, sliding_window=None, head_dim=16)),
    "mixtral": ("mixtral", dict(SMALL, num_local_experts=4, num_experts_per_tok=3)),
    "qwen2": ("qwen2", SMALL),
    "qwen2_windows": ("qwen2", dict(SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1, tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(SMALL, head_dim=16)),
    "qwen3_bias": ("qwen3", dict(SMALL, attention_bias=True)),
    "qwen2_moe": ("qwen2_moe", dict(SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
                                    shared_expert_intermediate_size=40, decoder_sparse_step=2, norm_topk_prob=True)),
    "qwen3_moe": ("qwen3_moe", dict(SMALL, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, mlp_only_layers=[1])),
    "gemma": ("gemma", dict(SMALL, head_dim=16)),
    "gemma2": ("gemma2", dict(SMALL, head_dim=16, sliding_window=8, query_pre_attn_scalar=16)),
    "gemma3": ("gemma3_text", dict(SMALL, head_dim=16, sliding_window=8, num_hidden_layers=7,
                                   rope_scaling={"rope_type": "linear", "factor": 8.0})),
    "phi": ("phi", dict(SMALL, partial_rotary_factor=0.5)),
    "phi3": ("phi3", dict(SMALL)),
    "phi3_longrope": ("phi3", dict(SMALL, original_max_position_embeddings=32, rope_scaling=LONG, sliding_window=16)),
    "gpt2": ("gpt2", GPT2),
    "gpt2_inner": ("gpt2", dict(GPT2, n_inner=40, activation_function="relu")),
    "gpt_neox": ("gpt_neox", dict(SMALL, rotary_pct=0.5)),
    "gpt_neox_serial": ("gpt_neox", dict(SMALL, use_parallel_residual=False, attention_bias=False, rotary_emb_base=5000, tie_word_embeddings=True)),
    "falcon_7b": ("falcon", dict(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, bos_token_id=1, eos_token_id=2)),
    "falcon_40b": ("falcon", dict(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
                                  new_decoder_architecture=True, bos_token_id=1, eos_token_id=2)),
    "falcon_1b": ("falcon", dict(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True, bias=True,
                                 multi_query=False, parallel_attn=False, bos_token_id=1, eos_token_id=2)),
    "stablelm": ("stablelm", dict(SMALL, use_qkv_bias=True)),
    "stablelm_parallel": ("stablelm", dict(SMALL, use_parallel_residual=True, partial_rotary_factor=0.5)),
    "olmo": ("olmo", dict(SMALL, clip_qkv=8.0)),
    "olmo2": ("olmo2", SMALL),
    "granite": ("granite", dict(SMALL, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.0078125, logits_scaling=8.0)),
    "smollm3": ("smollm3", dict(SMALL, num_hidden_layers=5)),
    "starcoder2": ("starcoder2", dict(SMALL, sliding_window=16)),
    "cohere": ("cohere", dict(SMALL, logit_scale=0.25)),
    "cohere_qk_norm": ("cohere", dict(SMALL, use_qk_norm=True)),
    "cohere2": ("cohere2", dict(SMALL, num_hidden_layers=5, sliding_window=8)),
    "mpt": ("mpt", dict(vocab_size=96, d_model=32, n_heads=4, n_layers=2, max_seq_len=64)),
    "bloom": ("bloom", dict(vocab_size=96, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)),
}


def tensors_of(folder):
    found = {}
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        found.update({name: entry["shape"] for name, entry in header.items() if name != "__metadata__"})
        path.unlink()
    return found


def main():
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    top = pathlib.Path(sys.argv[2])
    for name, (model_type, settings) in CASES.items():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **settings))
        model.save_pretrained(top / name)
        tensors = tensors_of(top / name)
        (top / name / "weights.json").write_text(json.dumps({"parameters": model.num_parameters(), "tensors": tensors}))
    (top / "names.json").write_text(json.dumps(list(CASES)))


if __name__ == "__main__":
    main()
