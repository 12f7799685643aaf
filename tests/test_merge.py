"""`graft merge` and `graft export --adapter` as a user runs them: PEFT's merge_and_unload is the oracle for the weights,
transformers and our own engine load what was written."""

import json

import pytest

from tests.support import byte_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_llama.write_model(tmp_path_factory.mktemp("tiny-llama"))


def write_adapter(model, directory, **options):
    """An adapter with random factors, large enough to be seen in every answer."""
    import peft
    import torch
    import transformers

    torch.manual_seed(5)
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", **options)
    tuned = peft.get_peft_model(base, config)
    for name, parameter in tuned.named_parameters():
        if "magnitude" in name:
            parameter.data *= 1 + 0.2 * torch.rand_like(parameter)
        elif "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.15
    tuned.save_pretrained(directory)
    return directory


def load(model, dtype="float32"):
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype)


def peft_merge(model, adapter):
    import peft

    return peft.PeftModel.from_pretrained(load(model), adapter).merge_and_unload()


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_the_merge_is_pefts(graft, model, tmp_path, options):
    adapter = write_adapter(model, tmp_path / "adapter", **options)
    result = graft.json("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "merged", "--dtype",
                        "float32", "--no-kl")
    assert result["files"] == 1 and "kl" not in result
    ours, theirs = load(tmp_path / "merged").state_dict(), peft_merge(model, adapter).state_dict()
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert (ours[name] - value).abs().max().item() < 1e-6 * max(1.0, value.abs().max().item()), name
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "merged" / name).exists(), name


def test_the_merge_answers_as_base_and_adapter_apart(graft, model, tmp_path):
    adapter = write_adapter(model, tmp_path / "adapter")
    (tmp_path / "prompts.txt").write_text("the quick brown fox\n\njumps over the lazy dog\n")
    result = graft.json("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "merged", "--dtype",
                        "float32", "--prompts", tmp_path / "prompts.txt")
    kl = result["kl"]
    assert kl["positions"] == kl["same_best"] == 19 + 23
    assert 0 <= kl["mean"] <= kl["largest"] < 1e-6
    assert not list((graft.home / "cache").iterdir()), "nothing of the comparison may stay"
    asked = ["--raw", "--max-new-tokens", 24, "--dtype", "float32", "apples are"]
    apart = graft.json("prompt", "--model", model, "--adapter", adapter, *asked)
    merged = graft.json("prompt", "--model", tmp_path / "merged", *asked)
    base = graft.json("prompt", "--model", model, *asked)
    assert merged["text"] == apart["text"] != base["text"]


def test_the_kl_of_another_adapter_would_show(graft, model, tmp_path):
    """The number can fail: merged from one adapter, compared with itself, it is small; base and adapter are far apart."""
    import torch

    adapter = write_adapter(model, tmp_path / "adapter")
    result = graft.json("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "merged")
    assert result["dtype"] == "bfloat16" and 0 < result["kl"]["mean"] < 0.05
    before = torch.log_softmax(load(model)(torch.arange(40)[None]).logits[0], -1)
    after = torch.log_softmax(load(tmp_path / "merged", "bfloat16")(torch.arange(40)[None]).logits[0].float(), -1)
    apart = (before.exp() * (before - after)).sum(-1).mean().item()
    assert apart > 20 * result["kl"]["mean"]
    text = graft.run("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "again").stdout
    assert "KL(unmerged || merged):" in text


def test_from_a_quantised_base_into_its_dequantised_weights(graft, model, tmp_path):
    import gguf

    adapter = write_adapter(model, tmp_path / "adapter")
    graft.run("export", "--format", "gguf", "--type", "q8_0", model, tmp_path / "base.gguf")
    result = graft.json("merge", "--model", tmp_path / "base.gguf", "--adapter", adapter, "--output",
                        tmp_path / "merged", "--dtype", "float32")
    assert result["kl"]["largest"] < 1e-6
    name = "model.layers.1.mlp.down_proj.weight"
    delta = peft_merge(model, adapter).state_dict()[name] - load(model).state_dict()[name]
    tensor = {t.name: t for t in gguf.GGUFReader(tmp_path / "base.gguf").tensors}["blk.1.ffn_down.weight"]
    want = gguf.quants.dequantize(tensor.data, tensor.tensor_type) + delta.numpy()
    assert abs(load(tmp_path / "merged").state_dict()[name].numpy() - want).max() < 1e-6


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_into_the_base_as_it_was_held_in_training(graft, model, tmp_path, dtype):
    """An adapter that was trained over 8 or 4 bits is folded into those weights, not into the exact ones."""
    adapter = write_adapter(model, tmp_path / "adapter")
    held = graft.json("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "held", "--dtype",
                      "float32", "--base-dtype", dtype)
    exact, merged = peft_merge(model, adapter).state_dict(), load(tmp_path / "held").state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    error = (merged[name] - exact[name]).abs().max().item()
    largest = load(model).state_dict()[name].abs().max().item()
    assert 0 < error < largest / (100 if dtype == "int8" else 6)
    assert (merged["model.norm.weight"] - exact["model.norm.weight"]).abs().max().item() == 0
    # Of two engines with the same weights only the rounding of activations differs; the exact weights are further away.
    graft.run("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "exact", "--dtype", "float32",
              "--base-dtype", "source", "--no-kl")
    certificate = {"version": 1, "dtype": dtype, "tolerance": 0.02, "examples": []}
    (adapter / "certificate.json").write_text(json.dumps(certificate))
    auto = graft.json("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "auto", "--dtype", "float32")
    assert auto["kl"] == held["kl"]
    assert (load(tmp_path / "auto").state_dict()[name] == merged[name]).all()


def test_exports_of_adapter_and_model_together(graft, model, tmp_path):
    import gguf
    import peft

    adapter = write_adapter(model, tmp_path / "adapter", use_dora=True)
    want = peft_merge(model, adapter).state_dict()
    graft.run("export", "--format", "gguf", "--type", "f32", "--adapter", adapter, model, tmp_path / "out.gguf")
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "out.gguf").tensors}
    down = want["model.layers.0.mlp.down_proj.weight"].numpy()
    assert abs(tensors["blk.0.ffn_down.weight"].data - down).max() < 1e-6
    for kind in ("q8_0", "q4_k"):  # widths 64 and 96: no multiples of 256
        graft.run("export", "--format", "gguf", "--type", kind, "--adapter", adapter, model, tmp_path / f"{kind}.gguf")
        answer = graft.json("prompt", "--model", tmp_path / f"{kind}.gguf", "--raw", "--max-new-tokens", 4, "a")
        assert answer["generated_tokens"] >= 1
    graft.run("export", "--format", "safetensors", "--type", "f32", "--adapter", adapter, model, tmp_path / "hf")
    assert abs(load(tmp_path / "hf").state_dict()["model.layers.0.mlp.down_proj.weight"].numpy() - down).max() < 1e-6
    graft.run("export", "--format", "peft", "--type", "bf16", "--adapter", adapter, model, tmp_path / "peft")
    again = peft.PeftModel.from_pretrained(load(model), tmp_path / "peft")
    tokens = list(range(60, 90))
    exact = byte_llama.logprobs(peft.PeftModel.from_pretrained(load(model), adapter), tokens)
    assert abs(byte_llama.logprobs(again, tokens) - exact).max().item() < 0.1


def test_another_base_than_the_trainings_is_said(graft, model, tmp_path):
    adapter = write_adapter(model, tmp_path / "adapter")
    certificate = {"version": 1, "base_digest": "f" * 64, "dtype": "float32", "tolerance": 1e-4,
                   "examples": [{"tokens": [70, 71, 72], "training_logprobs": [-1.0, -1.0]}]}
    (adapter / "certificate.json").write_text(json.dumps(certificate))
    done = graft.run("merge", "--model", model, "--adapter", adapter, "--output", tmp_path / "a", "--json")
    assert done.stderr.startswith("warning: ") and "was trained on another base model" in done.stderr
    assert json.loads(done.stdout)["kl"]["positions"] == 3, "the certificate's text is what is asked"
    digest = graft.json("import", model, "--name", "tiny")["digest"]
    (adapter / "certificate.json").write_text(json.dumps({**certificate, "base_digest": digest}))
    done = graft.run("merge", "--model", "tiny", "--adapter", adapter, "--output", tmp_path / "b", "--json")
    assert done.stderr == ""


def test_refusals_are_one_line_and_leave_nothing(graft, model, tmp_path):
    adapter = write_adapter(model, tmp_path / "adapter")

    def refused(*arguments):
        error = graft.run(*arguments, code=1).stderr
        assert error.count("\n") == 1, error
        return error

    merge = ["merge", "--model", model, "--output", tmp_path / "out", "--adapter"]
    assert "not a PEFT adapter" in refused(*merge, tmp_path)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "bias": "all"}))
    assert "bias" in refused(*merge, adapter)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "no model 'nope'" in refused("merge", "--model", "nope", "--adapter", adapter, "--output", tmp_path / "out")
    (tmp_path / "empty.txt").write_text("\n")
    assert "holds no prompt" in refused(*merge, adapter, "--prompts", tmp_path / "empty.txt")
    assert "needs --adapter" in refused("export", "--format", "peft", model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    assert "exists already" in refused(*merge, adapter)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["precious"]
