"""Adapters for the serving benchmarks: random ones of a given rank on given modules, as PEFT directories and as the
GGUF files that llama.cpp takes."""

import json
import pathlib

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
QUERY_VALUE = ("q_proj", "v_proj")
GGUF_NAMES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
              "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}


def shapes(config: dict) -> dict:
    """Module -> (in, out)."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    return {"q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys), "o_proj": (queries, hidden),
            "gate_proj": (hidden, intermediate), "up_proj": (hidden, intermediate), "down_proj": (intermediate, hidden)}


def factors(config: dict, rank: int, modules, seed: int):
    """(layer, module, A [rank, in], B [out, rank]) of each target, float16: small, but not zero."""
    import numpy

    random = numpy.random.default_rng(seed)
    sizes = shapes(config)
    for layer in range(config["num_hidden_layers"]):
        for module in modules:
            inputs, outputs = sizes[module]
            a = random.standard_normal((rank, inputs)) / inputs**0.5
            b = random.standard_normal((outputs, rank)) * 0.01
            yield layer, module, a.astype(numpy.float16), b.astype(numpy.float16)


def write_peft(directory: pathlib.Path, model: pathlib.Path, rank: int, modules, seed: int) -> pathlib.Path:
    from safetensors.numpy import save_file

    if (directory / "adapter_model.safetensors").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    tensors = {}
    for layer, module, a, b in factors(config, rank, modules, seed):
        block = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
        name = f"base_model.model.model.layers.{layer}.{block}.{module}"
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = a, b
    (directory / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "lora_dropout": 0.0,
        "target_modules": list(modules), "bias": "none", "base_model_name_or_path": "smollm2"}), encoding="utf-8")
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def write_gguf(path: pathlib.Path, model: pathlib.Path, rank: int, modules, seed: int) -> pathlib.Path:
    import gguf

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer, module, a, b in factors(config, rank, modules, seed):
        # The rows of q and k lie in another order in a GGUF file; random ones are as good in any.
        name = f"blk.{layer}.{GGUF_NAMES[module]}.weight"
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)
    return path
