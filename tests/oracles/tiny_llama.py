"""Small random Llamas and what transformers and peft make of them: the oracle of the decoder and of the trainer.

    python3 tiny_llama.py model DIR [CONFIG_JSON]          writes a model; prints tokens and their log-probabilities
    python3 tiny_llama.py adapter DIR OUT LORA_JSON        writes a random adapter with peft; prints log-probabilities
    python3 tiny_llama.py train DIR ADAPTER JOB_JSON       trains a saved adapter with torch; prints losses and norms
    python3 tiny_llama.py score DIR [ADAPTER]              prints log-probabilities, with a saved adapter
    python3 tiny_llama.py train_full DIR JOB_JSON          trains all weights with torch, once for each way of clipping
    python3 tiny_llama.py pissa DIR JOB_JSON               trains a LoRA that peft initialises by PiSSA; prints the same
    python3 tiny_llama.py classify DIR ADAPTER JOB_JSON    trains a saved classifier; prints losses, norms and logits
"""

import json
import sys

import tokenizers
import torch
import transformers

VOCAB = 331
LENGTH = 200


def write_model(folder, extra):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(**{
        "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256} | extra)
    model = transformers.LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.15)
    model.save_pretrained(folder)
    vocab = {chr(i + 33): i for i in range(60)}
    tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[])).save(folder + "/tokenizer.json")


def load(folder):
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def tokens():
    return torch.randint(0, VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(5))


def logprobs(model):
    ids = tokens()
    with torch.no_grad():
        scores = torch.log_softmax(model(ids[None]).logits[0].double(), -1)
    return {"tokens": ids.tolist(), "logprobs": scores[torch.arange(LENGTH - 1), ids[1:]].tolist()}


def write_adapter(folder, out, settings):
    import peft

    torch.manual_seed(11)
    model = peft.get_peft_model(load(folder), peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    model.save_pretrained(out)
    return logprobs(model.eval())


def load_adapter(folder, adapter, trainable=False):
    import peft

    return peft.PeftModel.from_pretrained(load(folder), adapter, is_trainable=trainable)


def clip_all(parameters, job):
    return torch.nn.utils.clip_grad_norm_(parameters, job["max_grad_norm"])


def clip_each(parameters, job):
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    for parameter in parameters if job["max_parameter_norm"] > 0 else []:
        torch.nn.utils.clip_grad_norm_([parameter], job["max_parameter_norm"])
    return norm


def run_steps(model, job, loss_of, clip=clip_all):
    """loss_of(ids, labels): the summed loss of a sequence. clip: clips, and returns the norm of all before."""
    model.eval()  # no dropout
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=job["lr"], betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=job["weight_decay"])
    losses, norms = [], []
    for _ in range(job["steps"]):
        total = sum(sum(label >= 0 for label in labels) for labels in job["labels"])
        loss = sum(loss_of(ids, labels) for ids, labels in zip(job["sequences"], job["labels"]))
        (loss / total).backward()
        norms.append(float(clip(parameters, job)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, "norms": norms}


def train(model, job, clip=clip_all):
    def loss_of(ids, labels):
        scores = model(torch.tensor([ids])).logits[0]
        return torch.nn.functional.cross_entropy(scores, torch.tensor(labels), ignore_index=-100, reduction="sum")

    return run_steps(model, job, loss_of, clip) | logprobs(model)


def train_pissa(folder, job):
    import peft

    return train(peft.get_peft_model(load(folder), peft.LoraConfig(task_type="CAUSAL_LM", **job["lora"])), job)


def train_classifier(folder, adapter, job):
    import peft

    base = transformers.LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32,
                                                                       num_labels=job["num_labels"])
    model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)

    def loss_of(ids, labels):
        return torch.nn.functional.cross_entropy(model(torch.tensor([ids])).logits, torch.tensor(labels[-1:]))

    steps = run_steps(model, job, loss_of)
    with torch.no_grad():
        return steps | {"logits": [model(torch.tensor([ids])).logits[0].tolist() for ids in job["sequences"]]}


def main():
    verb, folder, *rest = sys.argv[1:]
    if verb == "model":
        write_model(folder, json.loads(rest[0]) if rest else {})
        result = logprobs(load(folder))
    elif verb == "adapter":
        result = write_adapter(folder, rest[0], json.loads(rest[1]))
    elif verb == "train":
        result = train(load_adapter(folder, rest[0], trainable=True), json.loads(rest[1]))
    elif verb == "pissa":
        result = train_pissa(folder, json.loads(rest[0]))
    elif verb == "classify":
        result = train_classifier(folder, rest[0], json.loads(rest[1]))
    elif verb == "train_full":
        job = json.loads(rest[0])
        result = {"runs": [train(load(folder), job | {"max_parameter_norm": norm}, clip_each)
                           for norm in job["max_parameter_norms"]]}
    else:
        result = logprobs((load_adapter(folder, rest[0]) if rest else load(folder)).eval())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
