"""llama.cpp on what `graft export --format gguf` writes, against the files of its own tools. Part of `make test-peers`,
which builds llama.cpp first (bench/setup serve).

The reference is independent of graft: the small model as float32 GGUF, written by the Python package gguf and quantised
by llama-quantize. graft exports the same model from its Hugging Face directory.
"""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

import gguf
import numpy as np
import pytest

from bench import programs
from bench.peers import bf16_gguf
from scripts.demo import emails

pytestmark = pytest.mark.peers

LLAMA = pathlib.Path(os.environ.get("LLAMA_CPP", programs.PEERS / "llama.cpp" / "build" / "bin"))
TYPES = {"f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_k": "Q4_K_M"}
PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n",
    "Once upon a time, in 1984, there were 23 caf\u00e9s and",
    "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n",
]
NASTY = ["", " a  b\n\n\tc ", "12345 6.7", "caf\u00e9 \u4f60\u597d \U0001F600\u200d!", "I'll DON'T", "<|im_start|>x<|im_end|>",
         "$$$ <=> ~~ ||", "e\u0301\u0301 \u1e9b\u0323", "a\r\nb\u00a0c"]


@pytest.fixture(scope="session")
def files(tmp_path_factory, graft_program, smollm2_hf):
    """{type: (graft's file, llama-quantize's file)}"""
    folder = tmp_path_factory.mktemp("exports")
    reference = folder / "reference-f32.gguf"
    bf16_gguf.write(reference, gguf.GGMLQuantizationType.F32)
    written = {}
    for ours, theirs in TYPES.items():
        written[ours] = folder / f"graft-{ours}.gguf", folder / f"llama-{ours}.gguf"
        graft_program.run("export", "--format", "gguf", "--type", ours, smollm2_hf, written[ours][0])
        subprocess.run([LLAMA / "llama-quantize", reference, written[ours][1], theirs], check=True, capture_output=True)
    return written


@pytest.fixture(scope="session")
def graft_program(tmp_path_factory):
    from tests.conftest import Graft

    return Graft(tmp_path_factory.mktemp("home"))


def post(port: int, path: str, body: dict) -> dict:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def answers(file: pathlib.Path, log: pathlib.Path) -> dict:
    """Greedy tokens of every prompt, and the ids of every nasty text."""
    port = programs.free_port()
    command = [LLAMA / "llama-server", "-m", file, "--host", "127.0.0.1", "--port", port, "-t", 2, "-c", 1024, "-np", 1]
    with programs.server(command, port, log):
        greedy = [post(port, "/completion", {"prompt": prompt, "n_predict": 40, "temperature": 0, "top_k": 1,
                                             "return_tokens": True, "cache_prompt": False})["tokens"]
                  for prompt in PROMPTS]
        ids = [post(port, "/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
               for text in NASTY]
    return {"greedy": greedy, "ids": ids}


def test_f16_and_bf16_answer_as_llama_quantizes_files(files, tmp_path):
    reference = files["f16"][0].with_name("reference-f32.gguf")
    got = {name: answers(file, tmp_path / f"{name}.log")
           for name, file in {"f32": reference, "f16": files["f16"][0], "llama f16": files["f16"][1],
                              "bf16": files["bf16"][0], "llama bf16": files["bf16"][1]}.items()}
    assert all(len(tokens) > 0 for tokens in got["f16"]["greedy"])
    assert got["f16"] == got["llama f16"]
    assert got["bf16"] == got["llama bf16"]
    assert got["f16"] == got["f32"]
    # bfloat16 keeps eight bits of each weight, so its answers part from the others' where two tokens are nearly equal.
    assert got["bf16"]["ids"] == got["f16"]["ids"]
    for prompt, ours, others in zip(PROMPTS, got["bf16"]["greedy"], got["f16"]["greedy"]):
        same = next((i for i, (a, b) in enumerate(zip(ours, others)) if a != b), min(len(ours), len(others)))
        print(f"bf16 and f16 agree on the first {same} of {len(others)} tokens after {prompt!r}")
        assert same >= 1


def test_the_original_files_tokenizer_gives_the_same_ids(files, smollm2_gguf, tmp_path):
    assert answers(files["q8_0"][0], tmp_path / "a.log")["ids"] == answers(smollm2_gguf, tmp_path / "b.log")["ids"]


@pytest.mark.parametrize("kind", TYPES)
def test_types_are_llama_quantizes_and_errors_are_no_larger(files, kind):
    ours, theirs = (gguf.GGUFReader(file) for file in files[kind])
    exact = {t.name: t for t in gguf.GGUFReader(files["f16"][0].with_name("reference-f32.gguf")).tensors}
    other = {t.name: t for t in theirs.tensors}
    assert sorted(t.name for t in ours.tensors) == sorted(other)
    squares = {}
    for tensor in ours.tensors:
        assert tensor.tensor_type == other[tensor.name].tensor_type, tensor.name
        want = exact[tensor.name].data
        if tensor.tensor_type.name in ("F32", "F16", "BF16", "Q8_0"):
            assert np.array_equal(tensor.data, other[tensor.name].data), tensor.name
            continue
        errors = [float(((gguf.quants.dequantize(t.data, t.tensor_type) - want) ** 2).sum())
                  for t in (tensor, other[tensor.name])]
        assert errors[0] <= errors[1], tensor.name
        total = squares.setdefault(tensor.tensor_type.name, [0.0, 0.0, 0])
        squares[tensor.tensor_type.name] = [total[0] + errors[0], total[1] + errors[1], total[2] + want.size]
    for name, (a, b, count) in squares.items():
        print(f"\n{kind} {name}: RMSE graft {(a / count) ** 0.5:.3e}, llama-quantize {(b / count) ** 0.5:.3e}, "
              f"ratio {(a / b) ** 0.5:.3f}")


def perplexity(file: pathlib.Path, text: pathlib.Path) -> float:
    done = subprocess.run([str(LLAMA / "llama-perplexity"), "-m", str(file), "-f", str(text), "-c", "512", "-b", "512",
                           "--chunks", "24", "-t", "2"], capture_output=True, text=True, check=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr)
    assert found, done.stderr[-2000:]
    return float(found[1])


@pytest.mark.parametrize("kind", ["q8_0", "q4_k"])
def test_perplexity_is_within_half_a_percent_of_llama_quantizes(files, kind, tmp_path):
    rows, _ = emails.write_files(tmp_path / "rows", train=400, test=2)
    text = tmp_path / "text"
    text.write_text("\n\n".join(json.loads(line)["email"] for line in rows.read_text().splitlines()))
    ours, theirs = (perplexity(file, text) for file in files[kind])
    print(f"\n{kind}: perplexity graft {ours:.4f}, llama-quantize {theirs:.4f} ({100 * (ours / theirs - 1):+.2f} %)")
    assert ours <= theirs * 1.005


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, smollm2_hf):
    """A PEFT adapter with random factors of the size that training makes, and what PEFT answers with it."""
    import peft
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tuned")
    torch.manual_seed(2)
    base = transformers.AutoModelForCausalLM.from_pretrained(smollm2_hf, dtype=torch.float32)
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16,
                                                      target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn_like(parameter) * 0.02
    model.save_pretrained(folder / "adapter")
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_hf)
    said = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=24, do_sample=False)
        said.append(out[0, ids.input_ids.shape[1]:].tolist())
    return folder / "adapter", said


def agreement(ours: list, others: list) -> int:
    return next((i for i, (a, b) in enumerate(zip(ours, others)) if a != b), min(len(ours), len(others)))


def test_a_merged_file_answers_as_peft_does(graft_program, smollm2_hf, tuned, tmp_path):
    adapter, said = tuned
    for kind in ("f32", *TYPES):
        file = tmp_path / f"{kind}.gguf"
        graft_program.run("export", "--format", "gguf", "--type", kind, "--adapter", adapter, smollm2_hf, file)
        got = answers(file, tmp_path / f"{kind}.log")["greedy"]
        same = [agreement(ours, theirs) for ours, theirs in zip(got, said)]
        print(f"\n{kind}: the first {same} of {[len(tokens) for tokens in said]} tokens are PEFT's")
        assert all(len(tokens) > 0 for tokens in got)
        if kind == "f32":
            assert sum(same) >= 0.9 * sum(len(tokens) for tokens in said)
        file.unlink()
