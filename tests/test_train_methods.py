"""Methods of `graft train` beside plain LoRA, on a tiny model: what comes out is PEFT's, and the same bits every time."""

import json
import shutil

import peft
import pytest
import transformers
from safetensors.numpy import load_file

from tests.support import byte_llama
from tests.test_train import arguments, events, job, model, weights  # noqa: F401: fixtures too

METHODS = {
    "dora": ["--set", "adapter.use_dora=true"],
    "int8": ["--set", "quantization.bits=8"],
    "int4": ["--set", "quantization.bits=4"],
    "pattern": ["--set", r"adapter.target_modules='model\.layers\.\d\.(self_attn\.[qv]|mlp\.down)_proj'"],
    "one layer": ["--set", "adapter.target_modules=[q_proj, v_proj, up_proj]", "--set", "adapter.exclude_modules=[v_proj]",
                  "--set", "adapter.layers_to_transform=[1]"],
    "pissa": ["--set", "adapter.init_lora_weights=pissa", "--set", "trainer.learning_rate=0.003"],
    "pissa over int4": ["--set", "adapter.init_lora_weights=pissa_niter_4", "--dtype", "int4"],
    "neftune": ["--set", "trainer.neftune_noise_alpha=1"],
    "dora over int4": ["--set", "adapter.use_dora=true", "--dtype", "int4"],
}

TARGETS = {
    "pattern": {f"model.layers.{layer}.{module}_proj" for layer in range(2)
                for module in ("self_attn.q", "self_attn.v", "mlp.down")},
    "one layer": {"model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"},
}


def check_certificate_with_peft(adapter, model):  # noqa: F811
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    tuned = peft.PeftModel.from_pretrained(base, adapter)
    certificate = json.loads((adapter / "certificate.json").read_text())
    assert certificate["holds"] and certificate["examples"]
    for example in certificate["examples"]:
        expected = byte_llama.logprobs(tuned, example["tokens"]).tolist()
        assert example["training_logprobs"] == pytest.approx(expected, abs=1e-3)
        assert example["runtime_logprobs"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_method_learns_and_is_deterministic(graft, job, method):  # noqa: F811
    for output in ("one", "two"):
        graft.run(*arguments(job, output, *METHODS[method]))
    adapted = {name.removeprefix("base_model.model.").split(".lora_")[0]
               for name in load_file(job / "one" / "adapter" / "adapter_model.safetensors")}
    assert adapted == TARGETS.get(method, adapted)
    losses = [event["loss"] for event in events(job, "one") if "loss" in event and "step" in event]
    assert sum(losses[-5:]) / 5 < (0.9 if method in TARGETS else 0.5) * losses[0], losses
    assert weights(job, "one") == weights(job, "two")
    certificate = json.loads((job / "one" / "adapter" / "certificate.json").read_text())
    assert certificate["dtype"] == {"int8": "int8", "int4": "int4", "dora over int4": "int4",
                                    "pissa over int4": "int4"}.get(method, "float32")


def test_trained_dora_is_pefts(graft, job, model):  # noqa: F811
    graft.run(*arguments(job, "out", *METHODS["dora"]))
    adapter = job / "out" / "adapter"
    magnitudes = [name for name in load_file(adapter / "adapter_model.safetensors") if "magnitude" in name]
    assert len(magnitudes) == 14  # seven projections of two layers
    check_certificate_with_peft(adapter, model)


def test_trained_pissa_is_a_plain_lora_of_twice_the_rank(graft, job, model):  # noqa: F811
    graft.run(*arguments(job, "out", *METHODS["pissa"]))
    adapter = job / "out" / "adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["r"] == 8 and config["lora_alpha"] == 16 and "init_lora_weights" not in config
    check_certificate_with_peft(adapter, model)
    error = graft.run(*arguments(job, "wrong", "--set", "adapter.init_lora_weights=pisa"), code=2).stderr
    assert "pissa_niter_N" in error


def test_neftune_resumes_to_the_same_bits(graft, job):  # noqa: F811
    graft.run(*arguments(job, "whole", *METHODS["neftune"]))
    shutil.copytree(job / "whole", job / "cut")
    shutil.rmtree(job / "cut" / "adapter")
    shutil.rmtree(max((job / "cut" / "checkpoints").iterdir(), key=lambda path: int(path.name)))
    graft.run(*arguments(job, "cut", "--resume", *METHODS["neftune"]))
    assert weights(job, "whole") == weights(job, "cut")
    graft.run(*arguments(job, "quiet"))
    assert weights(job, "whole") != weights(job, "quiet")
