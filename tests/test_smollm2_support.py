"""The model that the other tests use as their oracle, checked against transformers' own way of reading the file."""

import pytest
import torch
import transformers

from tests.support import smollm2

TEXT = "In 2024, the quick brown fox met 12 lazy dogs.\n\n\tDon't they sleep?  naïve 日本語 🦊\r\n"


@pytest.fixture(scope="module")
def theirs():
    path = smollm2.gguf_path()
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)


def test_hf_directory_gives_the_logits_of_transformers_own_gguf_loader(smollm2_hf, theirs):
    ours = transformers.AutoModelForCausalLM.from_pretrained(smollm2_hf)
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_hf)
    tokens = tokenizer(TEXT, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens).logits, theirs.float()(tokens).logits, atol=1e-3, rtol=0)


def test_tokenizer_splits_digits_and_gives_back_every_byte(smollm2_hf):
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_hf)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("room 1234")["input_ids"])
    assert pieces[-4:] == ["1", "2", "3", "4"]
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert tokenizer("<|im_end|>")["input_ids"] == [tokenizer.eos_token_id]
