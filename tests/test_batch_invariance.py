"""A request gives the same tokens and logprobs, bit for bit, alone and among 16 others with other adapters."""

import contextlib
import json
import pathlib
import re
import subprocess
import threading
import time
import urllib.request

import peft
import pytest
import tokenizers
import torch
import transformers

from tests.conftest import Graft, Server

NEIGHBOURS = 16
ADAPTERS = {
    "small": {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "v_proj"]},
    "full": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
    "rank_stabilised": {"r": 16, "lora_alpha": 16, "use_rslora": True, "target_modules": "all-linear"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    """A random Llama over bytes, large enough to have several heads, groups and layers."""
    folder = tmp_path_factory.mktemp("random-llama")
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=257, hidden_size=128, intermediate_size=224, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=256, eos_token_id=256)
    llama = transformers.LlamaForCausalLM(config)
    for name, parameter in llama.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, 0.0, 0.12)
    llama.save_pretrained(folder)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(model, tmp_path_factory) -> dict:
    """Adapters whose B is not zero, as peft saves them."""
    folders = {}
    for seed, (name, settings) in enumerate(ADAPTERS.items()):
        torch.manual_seed(100 + seed)
        base = transformers.LlamaForCausalLM.from_pretrained(model)
        adapted = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, 0.0, 0.05)
        folders[name] = tmp_path_factory.mktemp("adapter") / name
        adapted.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8", "int4"])
def server(request, model, tmp_path_factory):
    log = tmp_path_factory.mktemp("serve") / "log"
    with open(log, "w") as output:
        process = Graft(tmp_path_factory.mktemp("home")).start(
            "serve", "--model", model, "--dtype", request.param, "--port", "0", stdout=output, stderr=subprocess.STDOUT)
    running = Server(process, listening_url(process, log), log)
    yield running.wait_until_ready()
    running.stop()


def listening_url(process, log, seconds=120) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        assert process.poll() is None, f"graft serve ended with {process.returncode}:\n{log.read_text()}"
        time.sleep(0.05)
    raise TimeoutError(f"graft serve did not say where it listens:\n{log.read_text()}")


def post(server, route, body):
    call = urllib.request.Request(server.url + route, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(call, timeout=300)


def subject(adapters, adapter, inputs, **parameters):
    if adapter is not None:
        parameters |= {"adapter_id": str(adapters[adapter]), "adapter_source": "local"}
    return {"inputs": inputs,
            "parameters": {"details": True, "max_new_tokens": 40, "return_k_alternatives": 3} | parameters}


def subjects(adapters) -> list:
    long = "The quick brown fox jumps over the lazy dog. " * 9
    sampled = {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "seed": 7}
    return [
        subject(adapters, None, "Once upon a time", decoder_input_details=True),
        subject(adapters, None, long, **sampled),
        subject(adapters, "small", long, decoder_input_details=True),
        subject(adapters, "full", "Dear Sir or Madam,", repetition_penalty=1.2, **sampled),
        subject(adapters, "rank_stabilised", long[:200], ignore_eos_token=True),
    ]


def outcome(server, body) -> dict:
    """The whole answer: nothing in it may differ."""
    with post(server, "/generate", body) as response:
        return json.load(response)


@contextlib.contextmanager
def busy(server, adapters):
    """Sixteen other requests at a time, of all lengths, with every adapter and none; counts the finished ones."""
    stop = threading.Event()
    begun = [threading.Event() for _ in range(NEIGHBOURS)]
    failures = []

    def neighbour(number):
        names = [None, *ADAPTERS]
        turn = 0
        try:
            while not stop.is_set():
                body = subject(adapters, names[(number + turn) % len(names)], f"{number} {turn} " * (1 + 7 * number),
                               ignore_eos_token=True, max_new_tokens=60 + 5 * number, do_sample=True, seed=number)
                body["parameters"].pop("return_k_alternatives")
                with post(server, "/generate_stream", body) as response:
                    for line in response:
                        if line.startswith(b"data:"):
                            assert b'"error"' not in line, line
                            begun[number].set()
                        if stop.is_set():
                            break  # hangs up in the middle: the engine must take that as well
                turn += 1
        except Exception as failure:  # shown by the test below
            failures.append(failure)
            begun[number].set()

    threads = [threading.Thread(target=neighbour, args=(number,)) for number in range(NEIGHBOURS)]
    for thread in threads:
        thread.start()
    try:
        for event in begun:
            assert event.wait(300)
        wait_for_batch(server, NEIGHBOURS // 2)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def wait_for_batch(server, sequences, seconds=120):
    """Until the engine has been seen to run that many sequences together."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with urllib.request.urlopen(server.url + "/metrics", timeout=60) as response:
            size = re.search(r"^lorax_batch_current_size (\d+)", response.read().decode(), re.MULTILINE)
        if int(size[1]) >= sequences:
            return
    raise TimeoutError(f"the engine never ran {sequences} sequences together")


def test_answers_are_the_same_bits_alone_and_among_others(server, adapters):
    requests = subjects(adapters)
    alone = [outcome(server, body) for body in requests]
    assert len({answer["generated_text"] for answer in alone}) == len(requests)
    assert all(token["logprob"] < 0 for answer in alone for token in answer["details"]["tokens"])
    with busy(server, adapters):
        among = [outcome(server, body) for body in requests]
        together = [None] * len(requests)

        def ask(number):
            together[number] = outcome(server, requests[number])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for expected, *others in zip(alone, among, together):
        for other in others:
            assert other == expected


def test_prompt_logprobs_do_not_depend_on_the_prefix_cache(server, adapters):
    body = subject(adapters, "full", "Some text that was asked about before. " * 4)
    first = outcome(server, body)
    cached = outcome(server, body)
    body["parameters"]["decoder_input_details"] = True
    detailed = outcome(server, body)
    assert cached == first
    assert detailed["details"]["tokens"] == first["details"]["tokens"]
    assert len(detailed["details"]["prefill"]) == first["details"]["prompt_tokens"]
    assert detailed["details"]["prefill"][0]["logprob"] is None
