"""Embeddings, classes and DoRA against transformers and peft, through a running server."""

import base64
import json
import pathlib
import struct
import subprocess
import urllib.error
import urllib.request

import numpy
import openai
import peft
import pytest
import torch
import transformers

from tests.conftest import Graft, Server
from tests.support import byte_llama
from tests.test_batch_invariance import listening_url

TEXT = "Dear Sir or Madam, the quick brown fox jumps over the lazy dog."
LABELS = ["ham", "spam", "neither"]
CLASSIFIER = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]}


def randomise(module, seed):
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        if "lora_" in name or "score" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.2 if "score" in name else 0.05)
    return module.eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    return byte_llama.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapters(model, tmp_path_factory) -> dict:
    """name -> (folder, the same thing in torch)"""
    made = {}
    kinds = {"sequence": (transformers.LlamaForSequenceClassification, {"task_type": "SEQ_CLS"}, {"num_labels": 3}),
             "token": (transformers.LlamaForTokenClassification, {"task_type": "TOKEN_CLS"}, {"num_labels": 3}),
             "dora": (transformers.LlamaForCausalLM, {"task_type": "CAUSAL_LM", "use_dora": True}, {})}
    for seed, (name, (kind, settings, options)) in enumerate(kinds.items()):
        torch.manual_seed(seed)
        base = kind.from_pretrained(model, pad_token_id=0, **options)
        adapted = randomise(peft.get_peft_model(base, peft.LoraConfig(**CLASSIFIER, **settings)), 10 + seed)
        folder = tmp_path_factory.mktemp("adapter") / name
        adapted.save_pretrained(folder)
        made[name] = (folder, adapted)
    (made["sequence"][0] / "config.json").write_text(json.dumps({"id2label": dict(enumerate(LABELS))}))
    return made


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    log = tmp_path_factory.mktemp("serve") / "log"
    with open(log, "w") as output:
        process = Graft(tmp_path_factory.mktemp("home")).start(
            "serve", "--model", model, "--dtype", "float32", "--port", "0", stdout=output, stderr=subprocess.STDOUT)
    running = Server(process, listening_url(process, log), log)
    yield running.wait_until_ready()
    running.stop()


def post(server, route, body, status=200):
    call = urllib.request.Request(server.url + route, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=120) as response:
            code, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        code, text = error.code, error.read()
    assert code == status, text
    return json.loads(text)


@pytest.fixture(scope="module")
def ids(model):
    return torch.tensor([transformers.AutoTokenizer.from_pretrained(model)(TEXT)["input_ids"]])


@pytest.fixture(scope="module")
def states(model, ids):
    """[tokens, hidden] of the base model."""
    base = transformers.LlamaModel.from_pretrained(model).eval()
    with torch.no_grad():
        return base(ids).last_hidden_state[0].numpy()


def test_embed_is_the_mean_of_the_hidden_states_or_the_last_one(server, states):
    mean = post(server, "/embed", {"inputs": TEXT})["embeddings"]
    last = post(server, "/embed", {"inputs": TEXT, "pooling": "last"})["embeddings"]
    assert numpy.allclose(mean, states.mean(0), atol=1e-4)
    assert numpy.allclose(last, states[-1], atol=1e-4)
    assert "pooling" in post(server, "/embed", {"inputs": TEXT, "pooling": "max"}, 422)["error"]
    assert "empty" in post(server, "/embed", {"inputs": ""}, 422)["error"]


def test_openai_client_gets_unit_vectors_of_many_texts(server, states, ids):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none")
    answer = client.embeddings.create(model="", input=[TEXT, "another text"])  # asks for base64
    expected = states.mean(0) / numpy.linalg.norm(states.mean(0))
    assert [item.index for item in answer.data] == [0, 1]
    assert numpy.allclose(answer.data[0].embedding, expected, atol=1e-5)
    assert answer.usage.prompt_tokens == len(TEXT) + len("another text")
    short = client.embeddings.create(model="", input=TEXT, dimensions=16, encoding_format="float").data[0].embedding
    assert numpy.allclose(short, expected[:16] / numpy.linalg.norm(expected[:16]), atol=1e-5)
    by_ids = client.embeddings.create(model="", input=ids[0].tolist(), encoding_format="float").data[0].embedding
    assert numpy.allclose(by_ids, expected, atol=1e-5)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="", input=[])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="no-such-adapter", input=TEXT)


def test_base64_is_little_endian_float32(server):
    both = [post(server, "/v1/embeddings", {"input": TEXT, "encoding_format": form})["data"][0]["embedding"]
            for form in ("float", "base64")]
    raw = base64.b64decode(both[1])
    assert numpy.allclose(struct.unpack(f"<{len(raw) // 4}f", raw), both[0], atol=1e-7)


def parameters(adapters, name):
    return {"parameters": {"adapter_id": str(adapters[name][0]), "adapter_source": "local"}}


def test_sequence_classifier_of_peft_gives_transformers_probabilities(server, adapters, ids):
    got = post(server, "/classify", {"inputs": TEXT} | parameters(adapters, "sequence"))
    with torch.no_grad():
        expected = torch.softmax(adapters["sequence"][1](input_ids=ids).logits[0], -1).tolist()
    assert {item["entity_group"]: item["score"] for item in got} == pytest.approx(dict(zip(LABELS, expected)), abs=1e-4)
    assert got[0]["score"] == max(item["score"] for item in got)
    assert (got[0]["word"], got[0]["start"], got[0]["end"]) == (TEXT, 0, len(TEXT))


def test_token_classifier_of_peft_groups_neighbours_of_one_class(server, adapters, ids):
    got = post(server, "/classify", {"inputs": TEXT} | parameters(adapters, "token"))
    with torch.no_grad():
        scores = torch.softmax(adapters["token"][1](input_ids=ids).logits[0], -1)
    groups = []  # transformers' aggregation_strategy "simple"
    for position, row in enumerate(scores):
        label = f"LABEL_{int(row.argmax())}"
        if not groups or groups[-1]["entity_group"] != label:
            groups.append({"entity_group": label, "start": position, "scores": []})
        groups[-1]["end"] = position + 1
        groups[-1]["scores"].append(float(row.max()))
    assert [(item["entity_group"], item["start"], item["end"]) for item in got] == [
        (group["entity_group"], group["start"], group["end"]) for group in groups]
    assert [item["score"] for item in got] == pytest.approx([numpy.mean(g["scores"]) for g in groups], abs=1e-4)
    assert [item["word"] for item in got] == [TEXT[group["start"]:group["end"]] for group in groups]


def test_a_batch_is_classified_text_by_text(server, adapters):
    texts = [TEXT, "another text"]
    got = post(server, "/classify_batch", {"inputs": texts} | parameters(adapters, "sequence"))
    assert got == [post(server, "/classify", {"inputs": text} | parameters(adapters, "sequence")) for text in texts]


def test_classifying_without_a_head_is_refused_by_name(server, adapters):
    for more in ({}, parameters(adapters, "dora")):
        refused = post(server, "/classify", {"inputs": TEXT} | more, 424)
        assert "no classification head" in refused["error"]
    assert "inputs" in post(server, "/classify_batch", {"inputs": []}, 422)["error"]


def test_dora_of_peft_has_its_logprobs_beside_other_adapters(server, adapters, ids):
    body = {"inputs": TEXT, "parameters": parameters(adapters, "dora")["parameters"] | {
        "details": True, "decoder_input_details": True, "max_new_tokens": 1}}
    got = [token["logprob"] for token in post(server, "/generate", body)["details"]["prefill"]][1:]
    with torch.no_grad():
        scores = torch.log_softmax(adapters["dora"][1](input_ids=ids).logits[0], -1)
    expected = scores[torch.arange(len(TEXT) - 1), ids[0, 1:]].tolist()
    assert got == pytest.approx(expected, abs=1e-3)


def test_an_adapter_that_generates_is_not_disturbed_by_its_head(server, adapters):
    """A classifier's adapter also generates: the head is only looked at by /classify."""
    answer = post(server, "/generate", {"inputs": TEXT, "parameters": parameters(adapters, "sequence")["parameters"] | {
        "max_new_tokens": 3, "ignore_eos_token": True}})
    assert "generated_text" in answer
