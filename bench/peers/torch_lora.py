"""The peers of `bench/run train`: fine-tuning in plain torch and PEFT, LoRA or of all weights.

What makes them fast, all of it measured: bfloat16 base weights under autocast (float32 ones are cast again in every
layer), rows bucketed by length so that almost nothing is padding, the output layer applied only where a label is, the
fused AdamW, with --compile each layer through torch.compile with dynamic shapes; tcmalloc, which the caller preloads.
Prints one JSON object:
  {"steps": [{"step", "loss", "tokens", "seconds", "compiled"}], "peak_memory_bytes", "accuracy"}
where tokens counts no padding, compiled says that the step had to compile something first, and accuracy is there with
--test.
"""

import argparse
import json
import random
import re
import sys
import time

import peft
import torch
import torch._dynamo.utils
import transformers

LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IGNORED = -100


def read_rows(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def encode(rows, tokenizer, template, label_column):
    """[(tokens, number of prompt tokens)]: the prompt, then the completion and the end-of-sequence token."""
    examples = []
    for row in rows:
        prompt = tokenizer(re.sub(r"\{(\w+)\}", lambda m: row[m[1]], template))["input_ids"]
        completion = tokenizer(row[label_column])["input_ids"] + [tokenizer.eos_token_id]
        examples.append((prompt + completion, len(prompt)))
    return examples


def buckets(examples, tokens_per_step, seed):
    """Batches of examples of about the same length, each at most tokens_per_step after padding, in random order."""
    generator = random.Random(seed)
    examples = list(examples)
    generator.shuffle(examples)
    examples.sort(key=lambda example: len(example[0]))
    batches = [[]]
    for example in examples:  # ascending, so the newest is the longest
        if batches[-1] and (len(batches[-1]) + 1) * len(example[0]) > tokens_per_step:
            batches.append([])
        batches[-1].append(example)
    generator.shuffle(batches)
    return batches


def collate(batch, pad):
    width = max(len(tokens) for tokens, _ in batch)
    inputs = torch.tensor([tokens + [pad] * (width - len(tokens)) for tokens, _ in batch])
    mask = torch.tensor([[1] * len(tokens) + [0] * (width - len(tokens)) for tokens, _ in batch])
    labels = torch.tensor([[IGNORED] * prompt + tokens[prompt:] + [IGNORED] * (width - len(tokens))
                           for tokens, prompt in batch])
    return inputs, None if bool(mask.all()) else mask, labels[:, 1:]


def labelled_logits(model, inputs, mask, labels):
    """Logits [labelled positions, vocab] and their labels."""
    llama = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    hidden = llama.model(input_ids=inputs, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    chosen = labels != IGNORED
    return llama.lm_head(hidden[chosen]), labels[chosen]


def graphs() -> int:
    """How many torch.compile has made so far."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def train(model, batches, pad, arguments):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.learning_rate, weight_decay=0.0, fused=True)
    warmup = max(1, round(arguments.warmup_fraction * len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (len(batches) - step) / max(1, len(batches) - warmup)))
    model.train()
    steps = []
    begin = time.perf_counter()
    for number, batch in enumerate(batches[: arguments.steps]):
        if len(steps) >= arguments.least_steps and time.perf_counter() - begin > arguments.most_seconds:
            break
        start, known = time.perf_counter(), graphs()
        inputs, mask, labels = collate(batch, pad)
        with torch.autocast("cpu", torch.bfloat16):
            logits, targets = labelled_logits(model, inputs, mask, labels)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()
        if arguments.method == "lora":  # graft does not clip all weights either
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        steps.append({"step": number + 1, "loss": loss.item(), "tokens": sum(len(t) for t, _ in batch),
                      "seconds": time.perf_counter() - start, "compiled": graphs() != known})
        print(json.dumps(steps[-1]), file=sys.stderr)
    return steps


def accuracy(model, examples, pad):
    """The share of rows whose label greedy decoding would give, token for token."""
    model.eval()
    right = 0
    with torch.no_grad():
        for batch in buckets(examples, 2048, seed=0):
            inputs, mask, labels = collate(batch, pad)
            with torch.autocast("cpu", torch.bfloat16):
                logits, targets = labelled_logits(model, inputs, mask, labels)
            same = iter((logits.argmax(-1) == targets).tolist())
            for tokens, prompt in batch:
                answer = [next(same) for _ in range(len(tokens) - prompt)]
                right += all(answer[:-1])  # the last one is the end-of-sequence token
    return right / len(examples)


def peak_memory():
    """Bytes: VmHWM of this process."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def open_model(arguments):
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model,
                                                              torch_dtype=getattr(torch, arguments.weights))
    if arguments.method == "lora":
        config = peft.LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, lora_dropout=0.0,
                                 target_modules=LINEAR_LAYERS, task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config)
    if arguments.compile:
        llama = model.get_base_model() if arguments.method == "lora" else model
        for layer in llama.model.layers:
            layer.compile(dynamic=True)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="a Hugging Face directory")
    parser.add_argument("--data", required=True)
    parser.add_argument("--test")
    parser.add_argument("--template", required=True)
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--tokens-per-step", type=int, default=2048)
    parser.add_argument("--steps", type=int, help="stop after so many; the whole file once without")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--warmup-fraction", type=float, default=0.05)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--weights", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--compile", action="store_true", help="each layer, with dynamic shapes")
    parser.add_argument("--least-steps", type=int, default=0)
    parser.add_argument("--most-seconds", type=float, default=float("inf"), help="end after these, and so many steps")
    parser.add_argument("--save", help="write the adapter into this directory")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    model = open_model(arguments)
    pad = tokenizer.pad_token_id
    examples = encode(read_rows(arguments.data), tokenizer, arguments.template, arguments.label_column)
    result = {"steps": train(model, buckets(examples, arguments.tokens_per_step, arguments.seed), pad, arguments),
              "peak_memory_bytes": peak_memory()}
    if arguments.test:
        test = encode(read_rows(arguments.test), tokenizer, arguments.template, arguments.label_column)
        result["accuracy"] = accuracy(model, test, pad)
        with model.disable_adapter():
            result["accuracy_before"] = accuracy(model, test, pad)
    if arguments.save:
        model.save_pretrained(arguments.save)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
