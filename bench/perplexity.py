"""`bench/run serve --only perplexity`: what quantised weights cost, on a merged fine-tune: the model's own file is 4-bit, so
that its weights would lie on a 4-bit grid already.

graft and llama.cpp cut the text into windows of their own, so each one's quantised weights are compared with its own
bfloat16: the rows are ratios of perplexities. Both score the second half of windows of 512 tokens.
"""

import json
import math
import re
import shutil
import subprocess
import sys

from bench import machine, programs, serving
from bench.rows import Row
from bench.serve_features import post
from scripts.demo import emails

WINDOW, WINDOWS, CHUNKS = 512, 24, 40
STEPS = 60
MERGED = "smollm2-merged"


def pretraining_config(file):
    """Continued pretraining on the e-mails: as rough on the weights as fine-tuning gets, and good for the perplexity."""
    file.write_text(json.dumps({
        "model_type": "llm", "base_model": programs.MODEL,
        "preprocessing": {"split": {"type": "random", "probabilities": [1.0, 0.0, 0.0]}},
        "adapter": {"type": "lora", "r": 64, "alpha": 128, "target_modules": "all-linear"},
        "trainer": {"learning_rate": 0.001, "max_batch_tokens": 2048, "train_steps": STEPS}}), encoding="utf-8")
    return file


def train_adapter():
    job = programs.WORK / "merge-job"
    if not (job / "adapter" / "adapter_model.safetensors").exists():
        shutil.rmtree(job, ignore_errors=True)
        data, _ = emails.write_files(programs.WORK)
        texts = programs.WORK / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": json.loads(line)["email"]}) + "\n"
                                 for line in data.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
        programs.run([programs.GRAFT, "train", pretraining_config(programs.WORK / "pretrain.yaml"), "--dataset", texts,
                      "--output", job, "--threads", machine.threads()], programs.WORK / "merge-train.log")
    return job / "adapter"


def merge(target):
    """The base with the adapter added, as a Hugging Face directory in bfloat16."""
    if (target / "model.safetensors").exists():
        return
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    source = programs.PEERS / "smollm2-bfloat16"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, train_adapter()).merge_and_unload().to(torch.bfloat16)
    merged.save_pretrained(target)
    for file in source.iterdir():
        if not (target / file.name).exists() and "safetensors" not in file.name:
            shutil.copy(file, target / file.name)


def quantised(target) -> dict:
    """GGUF files of the merged model for llama.cpp."""
    files = {"bf16": target / "bf16.gguf", "q4_k_m": target / "q4_k_m.gguf", "q8_0": target / "q8_0.gguf"}
    if not files["bf16"].exists():
        programs.run([programs.GRAFT, "export", target, files["bf16"], "--format", "gguf", "--type", "bf16"], programs.WORK / "merge-export.log")
    for kind in ("q4_k_m", "q8_0"):
        if not files[kind].exists():
            subprocess.run([programs.PEERS / "llama.cpp/build/bin/llama-quantize", files["bf16"], files[kind], kind],
                           check=True, capture_output=True)
    return files


def ours(target, dtype: str, windows: list) -> float:
    port = programs.free_port()
    command = [programs.GRAFT, "serve", "--model", target, "--port", port, "--dtype", dtype, "--threads",
               machine.threads()]
    total = count = 0
    with programs.server(command, port, programs.WORK / f"perplexity-{dtype}.log"):
        for window in windows:
            answer, _ = post(port, {"inputs": window, "parameters": {"max_new_tokens": 1, "details": True,
                                                                     "decoder_input_details": True}})
            scored = [token["logprob"] for token in answer["details"]["prefill"]][WINDOW // 2:]
            total -= sum(scored)
            count += len(scored)
    return math.exp(total / count)


def theirs(file, text) -> float:
    done = subprocess.run([programs.PEERS / "llama.cpp/build/bin/llama-perplexity", "-m", file, "-f", text, "-c", str(WINDOW),
                           "-b", str(WINDOW), "--chunks", str(CHUNKS), "-t", str(machine.threads())], check=True, capture_output=True, text=True)
    return float(re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr)[1])


def run(repetitions: int, force: bool) -> list:
    del repetitions, force  # the same number every time
    programs.require(programs.PEERS / "llama.cpp/build/bin/llama-perplexity", "bench/setup serve")
    target = programs.WORK / MERGED
    merge(target)
    files = quantised(target)
    _, test = emails.write_files(programs.WORK)
    prompts = serving.prompts(WINDOW, WINDOWS)
    windows = [next(prompts) for _ in range(WINDOWS)]
    text = programs.WORK / "perplexity.txt"
    text.write_text("\n".join(json.loads(line)["email"] for line in test.read_text(encoding="utf-8").splitlines())[:100000],
                    encoding="utf-8")
    graft = {dtype: ours(target, dtype, windows) for dtype in ("bfloat16", "int8", "int4")}
    llama = {kind: theirs(file, text) for kind, file in files.items()}
    print("  perplexities: " + ", ".join(f"graft {kind} {value:.3f}" for kind, value in graft.items()) + "; " +
          ", ".join(f"llama.cpp {kind} {value:.3f}" for kind, value in llama.items()), file=sys.stderr)

    def times(value):
        return [value] * 3

    loss = {dtype: graft[dtype] / graft["bfloat16"] for dtype in graft}
    return [Row("perplexity: int8", "", times(graft["int8"]), times(graft["bfloat16"]), "graft bfloat16", 1.01,
                higher_is_better=False),
            Row("perplexity over that of bfloat16: int4", "x", times(loss["int4"]),
                times(llama["q4_k_m"] / llama["bf16"]), "llama.cpp v0.5.0 (q4_k_m)", 1.0, higher_is_better=False),
            Row("perplexity over that of bfloat16: int8", "x", times(loss["int8"]), times(llama["q8_0"] / llama["bf16"]),
                "llama.cpp v0.5.0 (q8_0)", None, higher_is_better=False)]
