"""The openai and lorax-client packages, unchanged, against the API.

Everything here holds for any model, so it runs against the API over an engine without a model (api_fake_server, built
with the unit tests) as well as against `graft serve`.
"""

import asyncio
import dataclasses
import functools
import json
import subprocess
import urllib.request

import lorax
import numpy
import openai
import pytest
import safetensors.numpy
from lorax import errors as lorax_errors

from tests.conftest import BUILD

# lorax-client 0.6.3 calls what newer versions of pydantic have renamed.
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")

PROMPT = "The three primary colours are"
MESSAGES = [{"role": "user", "content": "Name one colour."}]


@dataclasses.dataclass
class Endpoint:
    url: str
    model: str

    @property
    def openai(self):
        return openai.OpenAI(base_url=self.url + "/v1", api_key="not-needed", max_retries=0, timeout=120)

    @property
    def async_openai(self):
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key="not-needed", max_retries=0, timeout=120)

    @property
    def lorax(self):
        return lorax.Client(self.url, timeout=120)


def fake_server():
    program = BUILD / "bin" / "api_fake_server"
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield line.removeprefix("listening on ").strip()
    finally:
        process.stdin.close()  # that ends it
        assert process.wait(timeout=30) == 0


SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["spam", "ham"]}, "urgent": {"type": "boolean"}},
          "required": ["kind", "urgent"], "additionalProperties": False}


@pytest.fixture(scope="module")
def smollm2(serve):
    url = serve().url
    with urllib.request.urlopen(url + "/info", timeout=30) as answer:
        return Endpoint(url, json.load(answer)["model_id"])


@pytest.fixture(scope="module", params=["fake", "smollm2"])
def endpoint(request):
    if request.param == "fake":
        server = fake_server()
        url = next(server)
        request.addfinalizer(server.close)
    else:
        return request.getfixturevalue("smollm2")
    with urllib.request.urlopen(url + "/info", timeout=30) as answer:
        return Endpoint(url, json.load(answer)["model_id"])


# --- openai ---


def test_openai_lists_the_model(endpoint):
    assert endpoint.model in [model.id for model in endpoint.openai.models.list()]
    assert endpoint.openai.models.retrieve(endpoint.model).object == "model"
    with pytest.raises(openai.NotFoundError):
        endpoint.openai.models.retrieve("no/such/model")


def test_openai_chat(endpoint):
    answer = endpoint.openai.chat.completions.create(model=endpoint.model, messages=MESSAGES, max_tokens=8,
                                                     temperature=0)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.created > 1_600_000_000
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_chat_stream_equals_the_whole_answer(endpoint):
    ask = {"model": endpoint.model, "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    whole = endpoint.openai.chat.completions.create(**ask)
    chunks = list(endpoint.openai.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert text == whole.choices[0].message.content
    assert reasons == [whole.choices[0].finish_reason]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_openai_chat_logprobs(endpoint):
    answer = endpoint.openai.chat.completions.create(model=endpoint.model, messages=MESSAGES, max_tokens=6,
                                                     temperature=0, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == max(top.logprob for top in token.top_logprobs)
        if token.bytes is not None:  # half a character has none
            assert bytes(token.bytes).decode() == token.token


def test_openai_completions(endpoint):
    ask = {"model": endpoint.model, "prompt": PROMPT, "max_tokens": 10, "temperature": 0}
    whole = endpoint.openai.completions.create(**ask)
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    chunks = list(endpoint.openai.completions.create(**ask, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    echoed = endpoint.openai.completions.create(**ask, echo=True)
    assert echoed.choices[0].text == PROMPT + whole.choices[0].text


def test_openai_completion_logprobs(endpoint):
    answer = endpoint.openai.completions.create(model=endpoint.model, prompt=PROMPT, max_tokens=4, temperature=0,
                                                logprobs=2, echo=True)
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset)
    assert logprobs.token_logprobs[0] is None
    assert all(logprob <= 0 for logprob in logprobs.token_logprobs[1:])
    text = answer.choices[0].text
    for token, offset in zip(logprobs.tokens, logprobs.text_offset):
        assert text[offset:offset + len(token)] == token


def test_openai_scores_a_prompt_without_output(endpoint):
    answer = endpoint.openai.completions.create(model=endpoint.model, prompt=PROMPT, max_tokens=0, echo=True,
                                                logprobs=0)
    assert answer.choices[0].text == PROMPT
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.prompt_tokens
    assert answer.usage.completion_tokens == 0


@pytest.mark.parametrize("as_list", [False, True])
def test_openai_stop_is_a_string_or_a_list(endpoint, as_list):
    ask = {"model": endpoint.model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    text = endpoint.openai.completions.create(**ask).choices[0].text
    stop = text[4:7]
    answer = endpoint.openai.completions.create(**ask, stop=[stop, "\x00never"] if as_list else stop).choices[0]
    assert answer.text == text[:text.index(stop)]
    assert answer.finish_reason == "stop"


def test_openai_seeds_repeat_and_choices_differ(endpoint):
    ask = {"model": endpoint.model, "prompt": PROMPT, "max_tokens": 12, "temperature": 1.5, "seed": 3}
    first = endpoint.openai.completions.create(**ask, n=2)
    again = endpoint.openai.completions.create(**ask, n=2)
    assert [c.text for c in first.choices] == [c.text for c in again.choices]
    assert first.choices[0].text != first.choices[1].text
    assert [c.index for c in first.choices] == [0, 1]


def test_openai_logit_bias_forbids_a_token(endpoint):
    ask = {"model": endpoint.model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    answer = endpoint.openai.completions.create(**ask, logit_bias={"0": -100, "1": 1.5})
    assert answer.choices[0].finish_reason in ("stop", "length")
    with pytest.raises(openai.BadRequestError, match="no token id"):
        endpoint.openai.completions.create(**ask, logit_bias={"ten million": 1})


def test_openai_prompts_may_be_tokens_or_many(endpoint):
    answer = endpoint.openai.completions.create(model=endpoint.model, prompt=[[1, 2, 3], [4, 5]], max_tokens=2)
    assert len(answer.choices) == 2
    assert answer.usage.prompt_tokens == 5
    answer = endpoint.openai.completions.create(model=endpoint.model, prompt=[PROMPT, PROMPT], max_tokens=2,
                                                temperature=0)
    assert answer.choices[0].text == answer.choices[1].text


def test_openai_errors_have_their_classes(endpoint):
    chat = endpoint.openai.chat.completions
    with pytest.raises(openai.BadRequestError) as wrong:
        chat.create(model=endpoint.model, messages=MESSAGES, temperature=5)
    assert wrong.value.param == "temperature"
    assert wrong.value.type == "invalid_request_error"
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as missing:
            chat.create(model="no/such/adapter/missing", messages=MESSAGES, stream=stream)
        assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        chat.create(model=endpoint.model, messages=MESSAGES, tools=[{"type": "function", "function": {}}])
    with pytest.raises(openai.BadRequestError, match="context"):
        chat.create(model=endpoint.model, messages=MESSAGES, max_tokens=10_000_000)


def test_openai_answers_to_a_schema(smollm2):
    answer = smollm2.openai.chat.completions.create(
        model=smollm2.model, messages=MESSAGES, max_tokens=60, temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "mail", "schema": SCHEMA, "strict": True}})
    assert answer.choices[0].finish_reason == "stop"
    made = json.loads(answer.choices[0].message.content)
    assert made.keys() == {"kind", "urgent"} and made["kind"] in ("spam", "ham")


def test_openai_calls_the_tool_that_is_asked_for(smollm2):
    tools = [{"type": "function", "function": {"name": "classify", "parameters": SCHEMA}}]
    choice = {"type": "function", "function": {"name": "classify"}}
    create = functools.partial(smollm2.openai.chat.completions.create, model=smollm2.model, messages=MESSAGES,
                               max_tokens=80, temperature=0, tools=tools, tool_choice=choice)
    (call,) = create().choices[0].message.tool_calls
    assert call.function.name == "classify" and json.loads(call.function.arguments)["kind"] in ("spam", "ham")
    pieces = [piece for chunk in create(stream=True) for made in chunk.choices for piece in made.delta.tool_calls or []]
    assert pieces[0].function.name == "classify"
    assert "".join(piece.function.arguments or "" for piece in pieces) == call.function.arguments


def test_lorax_answers_to_a_schema(smollm2):
    text = smollm2.lorax.generate(PROMPT, max_new_tokens=60,
                                  response_format={"type": "json_object", "schema": SCHEMA}).generated_text
    assert json.loads(text)["kind"] in ("spam", "ham")


def test_openai_async_clients_share_the_engine(endpoint):
    async def ask_all():
        client = endpoint.async_openai
        ask = {"model": endpoint.model, "messages": MESSAGES, "max_tokens": 6, "temperature": 0}
        answers = await asyncio.gather(*(client.chat.completions.create(**ask) for _ in range(6)))
        stream = await client.chat.completions.create(**ask, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        return [answer.choices[0].message.content for answer in answers] + [text]

    assert len(set(asyncio.run(ask_all()))) == 1


def test_openai_client_may_leave_a_stream(endpoint):
    stream = endpoint.openai.completions.create(model=endpoint.model, prompt=PROMPT, max_tokens=100, stream=True,
                                                extra_body={"ignore_eos_token": True})
    next(iter(stream))
    stream.close()
    assert endpoint.openai.completions.create(model=endpoint.model, prompt=PROMPT, max_tokens=1).choices


# --- lorax-client ---


def test_lorax_generate(endpoint):
    answer = endpoint.lorax.generate(PROMPT, max_new_tokens=8)
    assert answer.generated_text
    details = answer.details
    assert details.finish_reason in lorax.types.FinishReason
    assert details.prompt_tokens > 0
    assert details.generated_tokens == len(details.tokens) <= 8
    assert details.seed is None
    assert details.prefill == []
    assert answer.generated_text == "".join(token.text for token in details.tokens if not token.special)


def test_lorax_stream_equals_the_whole_answer(endpoint):
    whole = endpoint.lorax.generate(PROMPT, max_new_tokens=12)
    events = list(endpoint.lorax.generate_stream(PROMPT, max_new_tokens=12))
    assert [event.token.id for event in events] == [token.id for token in whole.details.tokens]
    assert "".join(event.token.text for event in events if not event.token.special) == whole.generated_text
    assert all(event.generated_text is None for event in events[:-1])
    assert events[-1].generated_text == whole.generated_text
    assert events[-1].details.finish_reason == whole.details.finish_reason
    assert events[-1].details.generated_tokens == whole.details.generated_tokens


def test_lorax_sampling_reports_its_seed(endpoint):
    first = endpoint.lorax.generate(PROMPT, max_new_tokens=8, do_sample=True, temperature=1.2)
    again = endpoint.lorax.generate(PROMPT, max_new_tokens=8, do_sample=True, temperature=1.2,
                                    seed=first.details.seed)
    assert again.generated_text == first.generated_text
    assert again.details.seed == first.details.seed


def test_lorax_details(endpoint):
    answer = endpoint.lorax.generate(PROMPT, max_new_tokens=3, decoder_input_details=True, return_k_alternatives=2)
    details = answer.details
    assert len(details.prefill) == details.prompt_tokens
    assert details.prefill[0].logprob is None
    assert all(token.logprob <= 0 for token in details.prefill[1:])
    for token in details.tokens:
        assert len(token.alternative_tokens) == 2
        assert token.alternative_tokens[0].logprob >= token.alternative_tokens[1].logprob


def test_lorax_options(endpoint):
    client = endpoint.lorax
    plain = client.generate(PROMPT, max_new_tokens=12).generated_text
    assert client.generate(PROMPT, max_new_tokens=12, return_full_text=True).generated_text == PROMPT + plain
    stop = plain[4:7]
    stopped = client.generate(PROMPT, max_new_tokens=12, stop_sequences=[stop])
    assert stopped.generated_text == plain[:plain.index(stop) + len(stop)]
    assert stopped.details.finish_reason == lorax.types.FinishReason.StopSequence
    assert client.generate(PROMPT, max_new_tokens=2, truncate=3).details.prompt_tokens == 3
    best = client.generate(PROMPT, max_new_tokens=4, best_of=2, do_sample=True).details
    assert len(best.best_of_sequences) == 1


def test_lorax_errors_have_their_classes(endpoint):
    client = endpoint.lorax
    with pytest.raises(lorax_errors.ValidationError, match="must be <="):
        client.generate(PROMPT, max_new_tokens=10_000_000)
    with pytest.raises(lorax_errors.GenerationError):
        client.generate(PROMPT, max_new_tokens=2, adapter_id="no/such/adapter/missing", adapter_source="local")
    with pytest.raises(lorax_errors.ValidationError, match="Predibase"):
        client.generate(PROMPT, max_new_tokens=2, adapter_id="some/adapter", adapter_source="pbase")
    with pytest.raises(lorax_errors.ValidationError):
        client.generate(PROMPT, max_new_tokens=2, response_format={"type": "json_object", "schema": {"type": "nonsense"}})


def write_adapter(folder, shape, rank, seed):
    """A PEFT directory with random factors for every layer's q_proj and v_proj."""
    layers, hidden, kv = shape
    random = numpy.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for module, out in ("q_proj", hidden), ("v_proj", kv):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}."
            tensors[name + "lora_A.weight"] = random.normal(0, 0.02, (rank, hidden)).astype(numpy.float32)
            tensors[name + "lora_B.weight"] = random.normal(0, 0.02, (out, rank)).astype(numpy.float32)
    folder.mkdir()
    safetensors.numpy.save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank,
              "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return str(folder)


def test_lorax_merged_adapters(endpoint, tmp_path):
    shape = (2, 16, 8) if endpoint.model == "tiny" else (30, 576, 192)
    a, b, wide = (write_adapter(tmp_path / name, shape, rank, seed)
                  for seed, (name, rank) in enumerate({"a": 4, "b": 4, "wide": 8}.items()))

    def merged(ids, weights, density=0.0, **options):
        merge = lorax.types.MergedAdapters(ids=ids, weights=weights, density=density, **options)
        return endpoint.lorax.generate(PROMPT, max_new_tokens=4, merged_adapters=merge, adapter_source="local")

    alone = endpoint.lorax.generate(PROMPT, max_new_tokens=4, adapter_id=a, adapter_source="local")
    same = merged([a, b], [1, 0])  # B's weight is 0
    assert len(same.details.tokens) == 4
    if endpoint.model != "tiny":  # whose text names the directory
        assert same.generated_text == alone.generated_text
        for ours, theirs in zip(same.details.tokens, alone.details.tokens, strict=True):
            assert ours.logprob == pytest.approx(theirs.logprob, abs=0.1)
    for strategy in "ties", "dare_linear", "dare_ties":
        first = merged([a, b], [0.5, 2], 0.5, merge_strategy=strategy, majority_sign_method="frequency")
        again = merged([a, b], [0.5, 2], 0.5, merge_strategy=strategy, majority_sign_method="frequency")
        assert first.generated_text == again.generated_text
    with pytest.raises(lorax_errors.ValidationError, match="same rank"):
        merged([a, wide], [1, 1])
    with pytest.raises(lorax_errors.ValidationError, match="density"):
        merged([a, b], [1, 1], merge_strategy="ties")
    with pytest.raises(lorax_errors.GenerationError):
        merged([a, "no/such/adapter"], [1, 1])


def test_lorax_stream_errors_come_in_the_stream(endpoint):
    with pytest.raises(lorax_errors.ValidationError, match="must be <="):
        list(endpoint.lorax.generate_stream(PROMPT, max_new_tokens=10_000_000))
    with pytest.raises(lorax_errors.GenerationError):
        list(endpoint.lorax.generate_stream(PROMPT, adapter_id="no/such/adapter/missing", adapter_source="local"))


def test_lorax_async_client(endpoint):
    async def ask():
        client = lorax.AsyncClient(endpoint.url, timeout=120)
        whole = await client.generate(PROMPT, max_new_tokens=6)
        events = [event async for event in client.generate_stream(PROMPT, max_new_tokens=6)]
        return whole, events

    whole, events = asyncio.run(ask())
    assert events[-1].generated_text == whole.generated_text
