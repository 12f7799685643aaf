"""The adapters of the soak: good ones, two that take turns under one path, one that comes and goes, corrupt ones."""

import json
import os
import pathlib
import shutil

from bench import adapters
from tests.support import smollm2

GOOD = 8
CORRUPT = ("corrupt-cut", "corrupt-config", "corrupt-shapes", "corrupt-empty")
CHANGING, VANISHING = "changing", "vanishing"
VERSIONS = ("version-a", "version-b")


def model_config(folder: pathlib.Path) -> pathlib.Path:
    """A folder with the sizes that adapters are made for, read from the GGUF file."""
    reader = smollm2.open_gguf()

    def size(key):
        return int(smollm2.metadata(reader, "llama." + key))

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        "hidden_size": size("embedding_length"), "intermediate_size": size("feed_forward_length"),
        "num_hidden_layers": size("block_count"), "num_attention_heads": size("attention.head_count"),
        "num_key_value_heads": size("attention.head_count_kv")}), encoding="utf-8")
    return folder


class Adapters:
    def __init__(self, root: pathlib.Path):
        self.root = root
        model = model_config(root.parent / "sizes")
        for number in range(GOOD):
            modules = adapters.ALL_LINEAR if number % 2 else adapters.QUERY_VALUE
            adapters.write_peft(root / f"good-{number}", model, (4, 8, 16)[number % 3], modules, number)
        for seed, name in enumerate(VERSIONS, start=100):
            adapters.write_peft(root / name, model, 8, adapters.ALL_LINEAR, seed)
        shutil.copytree(root / VERSIONS[0], root / CHANGING)
        shutil.copytree(root / VERSIONS[0], root / VANISHING)
        self._corrupt(model)

    def _corrupt(self, model: pathlib.Path):
        for name in CORRUPT[:2] + CORRUPT[3:]:
            shutil.copytree(self.root / "good-0", self.root / name)
        weights = self.root / "corrupt-cut" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        (self.root / "corrupt-config" / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "eight"')
        (self.root / "corrupt-empty" / "adapter_model.safetensors").write_bytes(b"")
        config = json.loads((model / "config.json").read_text())
        other = self.root.parent / "other-sizes"
        other.mkdir(exist_ok=True)
        (other / "config.json").write_text(json.dumps({**config, "hidden_size": config["hidden_size"] * 2}))
        adapters.write_peft(self.root / "corrupt-shapes", other, 8, adapters.QUERY_VALUE, 7)

    def good(self) -> list:
        return [f"good-{number}" for number in range(GOOD)]

    def change(self, version: str):
        """Puts other weights under the same path, in one step, as a deployment does."""
        part = self.root / CHANGING / "part"
        shutil.copyfile(self.root / version / "adapter_model.safetensors", part)
        os.replace(part, self.root / CHANGING / "adapter_model.safetensors")

    def vanish(self):
        shutil.rmtree(self.root / VANISHING, ignore_errors=True)

    def come_back(self):
        shutil.copytree(self.root / VERSIONS[0], self.root / VANISHING, dirs_exist_ok=True)
