"""The benchmarks' own arithmetic: a benchmark that counts wrongly would be believed."""

import http.server
import json
import random
import threading

import gguf
import numpy
import pytest
import safetensors.numpy
import torch

from bench import adapters, groups, load, rows, tokenizer, train_runs
from bench.peers import bf16_gguf, torch_lora
from scripts.demo import events
from tests.support import smollm2


def row(graft, peer, **bar):
    return rows.Row("speed", "tokens/s", graft, peer, "peer", **bar)


def test_a_row_is_met_by_the_ratio_of_the_medians():
    assert row([100, 120, 500], [90, 100, 110], required=1.2).met
    assert not row([100, 119, 500], [90, 100, 110], required=1.2).met
    assert row([5, 6, 7], [10, 10, 10], required=0.6, higher_is_better=False).met
    assert not row([5, 6.1, 7], [10, 10, 10], required=0.6, higher_is_better=False).met
    assert row([1, 1, 1], [10, 10, 10]).met  # no bar


def test_rows_are_written_with_what_a_reader_needs(tmp_path):
    rows.write_json(tmp_path / "out" / "rows.json", [row([1, 2, 3], [2, 2, 2], required=1.2)])
    (written,) = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert {"measure", "graft", "peer", "peer_name", "ratio", "required", "met", "cpu", "threads"} <= written.keys()
    assert (written["graft"], written["graft_min"], written["graft_max"]) == (2, 1, 3)
    assert (written["ratio"], written["met"]) == (1.0, False)


def test_adapters_for_both_engines_hold_the_same_factors(tmp_path):
    config = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
              "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    peft = adapters.write_peft(tmp_path / "peft", tmp_path, 4, adapters.ALL_LINEAR, seed=1)
    ours = safetensors.numpy.load_file(peft / "adapter_model.safetensors")
    theirs = {tensor.name: tensor.data for tensor in
              gguf.GGUFReader(adapters.write_gguf(tmp_path / "lora.gguf", tmp_path, 4, adapters.ALL_LINEAR, seed=1)).tensors}
    assert len(ours) == len(theirs) == 2 * 7 * 2
    assert ours["base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"].shape == (16, 4)
    assert numpy.array_equal(ours["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"],
                             theirs["blk.1.ffn_down.weight.lora_a"].reshape(4, 48))


def test_training_speed_counts_each_steps_own_tokens_and_time(tmp_path):
    lines = [{"event": "state", "state": "running"},
             {"event": "step", "tokens": 100, "seconds": 10.0, "total_tokens": 100, "total_seconds": 10.0},
             {"event": "step", "tokens": 300, "seconds": 1.0, "total_tokens": 400, "total_seconds": 11.0},
             {"event": "checkpoint", "step": 2},
             {"event": "step", "tokens": 100, "seconds": 1.0, "total_tokens": 500, "total_seconds": 15.0}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert events.tokens_per_second(tmp_path) == pytest.approx(500 / 12)
    assert events.tokens_per_second(tmp_path, warm_up=1) == pytest.approx(200)
    with pytest.raises(SystemExit, match="no more than 3 training steps"):
        events.tokens_per_second(tmp_path, warm_up=3)


def test_the_peers_buckets_hold_every_row_once_and_stay_within_the_step():
    examples = [(list(range(length)), 1) for length in (3, 90, 7, 64, 64, 5, 33, 12, 99, 2)]
    batches = torch_lora.buckets(examples, 100, seed=1)
    assert sorted(len(tokens) for batch in batches for tokens, _ in batch) == [2, 3, 5, 7, 12, 33, 64, 64, 90, 99]
    assert all(max(len(tokens) for tokens, _ in batch) * len(batch) <= 100 for batch in batches)


def test_the_peer_learns_completions_only():
    _, mask, labels = torch_lora.collate([([10, 11, 12, 13], 2), ([20, 21, 22], 1)], pad=0)
    ignored = torch_lora.IGNORED
    # labels[i] is what position i must predict
    assert labels.tolist() == [[ignored, 12, 13], [21, 22, ignored]]
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


def test_useful_operations_of_training_are_those_of_the_matrices():
    spec = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
            "num_key_value_heads": 1, "vocab_size": 50}
    lengths = [(10, 2), (30, 4)]
    frozen = 3 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    adapter = 3 * 5 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 16))
    total = 0
    for length, labelled in lengths:
        total += length * (4 * frozen + 6 * adapter) + labelled * 4 * 50 * 8
        for position in range(length):  # scores and their sum over values, forward once and backward twice
            total += 3 * 3 * (2 * 8 * (position + 1) + 2 * 8 * (position + 1))
    assert train_runs.flops_per_token(spec, lengths, rank=5) == pytest.approx(total / 40)


def test_a_group_that_fails_costs_its_own_rows_only():
    def works(repetitions, force):
        yield row([2] * repetitions, [1], required=1)
        raise SystemExit("error: the peer is gone")

    def other(repetitions, force):
        yield row([3], [1], required=1)

    measured = groups.run({"a": works, "b": other, "c": other}, 3, False, only=["a", "b"])
    assert [one.met for one in measured] == [True, False, True]
    assert "a: error: the peer is gone" in measured[1].measure


class Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, body))
        answer = json.dumps({"generated_text": "..."}).encode()
        self.send_response(200)
        self.send_header("X-Generated-Tokens", str(min(body["parameters"]["max_new_tokens"], 9)))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def engine():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.daemon_threads = True
    server.requests, server.lock = [], threading.Lock()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_load_generator_sends_every_prompt_once(engine):
    prompts = [f"prompt {number}" for number in range(7)]
    assert load.seconds(engine.server_address[1], load.GRAFT, prompts, count=4, streams=3) > 0
    assert sorted(body["inputs"] for _, body in engine.requests) == prompts
    assert all(path == "/generate" and body["parameters"]["ignore_eos_token"] for path, body in engine.requests)


def test_the_load_generator_refuses_an_engine_that_stops_early(engine):
    with pytest.raises(SystemExit, match="generated 9 tokens where 10 were asked for"):
        load.seconds(engine.server_address[1], load.GRAFT, ["prompt"], count=10, streams=1)


def test_the_peers_gguf_holds_the_weights_rounded_to_bfloat16(tmp_path):
    bf16_gguf.write(tmp_path / "model.gguf")
    source, copy = smollm2.open_gguf(), gguf.GGUFReader(tmp_path / "model.gguf")
    assert [tensor.name for tensor in copy.tensors] == [tensor.name for tensor in source.tensors]
    for index in (0, 1, 4, len(source.tensors) - 1):
        values = gguf.quants.dequantize(source.tensors[index].data, source.tensors[index].tensor_type)
        expected = torch.tensor(values)
        if values.ndim == 2:
            expected = expected.bfloat16().float()
        kind = copy.tensors[index].tensor_type
        numpy.testing.assert_array_equal(gguf.quants.dequantize(copy.tensors[index].data, kind), expected.numpy())
    for key in ("tokenizer.ggml.merges", "tokenizer.chat_template", "llama.rope.freq_base"):
        assert smollm2.metadata(copy, key) == smollm2.metadata(source, key)


def test_the_tokenizer_benchmarks_sentences_are_the_same_at_every_run_and_mix_scripts():
    text = tokenizer.sentences(random.Random(11), 20_000)
    assert text == tokenizer.sentences(random.Random(11), 20_000)
    assert 20_000 <= len(text.encode()) < 21_000
    assert all(script in text for script in ("и", "い", "的", "ال", "है"))
