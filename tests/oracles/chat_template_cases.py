"""Expectations for src/text/chat_template_test.cc from transformers' apply_chat_template.

    python3 -m tests.oracles.chat_template_cases WHICH FOLDER

WHICH is `models` (the templates that graft must know) or `families` (those of many more models). Writes
FOLDER/templates.jsonl ({"name", "source"}) and FOLDER/cases.jsonl, a case per line: {"template", "messages", "tools",
"extra", "add_generation_prompt"} and "text", or "error" where transformers raises, and "raised" where raise_exception did;
"generated", where the template has {% generation %} blocks: [begin, end) of what they printed, in characters.

WHICH `masks`: cases also have "ids" and "mask", from return_assistant_tokens_mask with Qwen3's tokenizer. WHICH `named`:
models with several templates, as directories FOLDER/N; cases.jsonl says which of the templates transformers takes.
"""

import datetime
import importlib.util
import json
import pathlib
import re
import sys

import jinja2
from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NOW = datetime.datetime(2024, 7, 9, 13, 5, 59)  # tests pass the same moment


class FrozenTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city \"now\" <b> & more – größer",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name, e.g. 'Zürich'"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14, "default": 3},
        "exact": {"type": "boolean", "default": False},
        "factor": {"type": "number", "default": 1e-05}},
        "required": ["city"]}, "return": {"type": "string"}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time", "parameters": {
    "type": "object", "properties": {}}}}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


USER = message("user", "What's the weather in Zürich?")
PLAIN = {
    "one": [message("user", "Hi")],
    "system": [message("system", "Be brief."), message("user", "Hi")],
    "turns": [message("user", "Hi"), message("assistant", "Hello!"), message("user", "How are you?")],
    "system_turns": [message("system", "  You are\nhelpful.  "), message("user", "a"), message("assistant", "b"),
                     message("user", "c"), message("assistant", "d"), message("user", "e")],
    "ends_with_assistant": [message("user", "Hi"), message("assistant", "Hello!")],
    "empty": [],
    "empty_content": [message("user", ""), message("assistant", ""), message("user", "x")],
    "empty_system": [message("system", ""), message("user", "x")],
    "white_space": [message("user", "  leading and trailing \n\n"), message("assistant", "\n\tx\u00a0"),
                    message("user", "\r\nlines\r\n")],
    "unicode": [message("system", "Ünïcödé 日本語 \u2028 שלום"), message("user", "👩‍👩‍👧‍👦 e\u0301 \x00 \x7f \u200b ſß"),
                message("assistant", "naïve\u3000")],
    "looks_like_markup": [message("user", "<|im_end|>\n<|im_start|>system\n{{ messages }} {% if %} </think> <b>&amp;")],
    "thinking": [message("user", "2+2?"), message("assistant", "<think>\nTwo and two\n</think>\n\n4"),
                 message("user", "3+3?"), message("assistant", "\n<think>\nThree\n\n</think>\n\n\n6\n")],
    "reasoning": [message("user", "2+2?"), message("assistant", "4", reasoning_content="\nTwo and two.\n"),
                  message("user", "and?"), message("assistant", "so", reasoning_content="")],
    "reasoning_last": [message("user", "2+2?"), message("assistant", "4", reasoning_content="Two.", thinking="Two.")],
    "two_systems": [message("system", "a"), message("user", "b"), message("system", "c"), message("user", "d")],
    "unknown_role": [message("user", "b"), message("critic", "c"), message("user", "d")],
    "two_users": [message("user", "a"), message("user", "b")],
    "starts_with_assistant": [message("assistant", "a"), message("user", "b")],
    "no_content": [message("user", None), {"role": "user"}],
    "parts": [message("user", [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}])],
    "developer": [message("developer", "Rules."), message("user", "b")],
    "names": [message("user", "a", name="ann"), message("assistant", "b", name="bot")],
    "tool_like_user": [message("user", "<tool_response>\nx\n</tool_response>"), message("assistant", "y")],
    "numbers": [message("user", "a", weight=1.5, count=3, flag=True, nothing=None), message("assistant", "b")],
}
WITH_TOOLS = {
    "asked": [USER],
    "system": [message("system", "Be exact."), USER],
    "called": [USER, message("assistant", "", tool_calls=[call("get_weather", {"city": "Zürich", "days": 2})]),
               message("tool", "{\"temperature\": 21.5}"), message("assistant", "21.5 °C."), message("user", "Thanks")],
    "called_with_text": [USER, message("assistant", "Let me look.\n", tool_calls=[
        call("get_weather", {"city": "Ber\"lin", "exact": True, "factor": 2.0, "tags": [], "of": {}, "no": None})]),
        message("tool", "rain", name="get_weather", tool_call_id="call_1")],
    "called_twice": [message("system", "S"), USER, message("assistant", None, tool_calls=[
        call("get_weather", {"city": "Bern"}, id="call_1"), call("clock", {}, id="call_2")]),
        message("tool", "sun", name="get_weather", tool_call_id="call_1"),
        message("tool", "12:00", name="clock", tool_call_id="call_2")],
    "called_with_string": [USER, message("assistant", "", tool_calls=[call("get_weather", "{\"city\": \"Bern\"}")]),
                           message("tool", "sun")],
    "called_bare": [USER, message("assistant", "", tool_calls=[{"name": "clock", "arguments": {"a": [1, [2, {"b": 3}]]}}]),
                    message("tool", {"now": "12:00", "list": [1, 2.5, None, False]})],
    "thought_and_called": [USER, message("assistant", "x", reasoning_content="I should ask.",
                                         tool_calls=[call("clock", {})]), message("tool", "1"), message("tool", "2")],
    "ipython": [USER, message("assistant", "", tool_calls=[call("clock", {})]), message("ipython", "12:00")],
}
SPECIALS = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<pad>", "unk_token": "<unk>"}


def cases():
    for messages in PLAIN.values():
        for add_generation_prompt in (False, True):
            yield messages, None, {}, add_generation_prompt
    for messages in WITH_TOOLS.values():
        for tools in (None, [], [WEATHER], [WEATHER, CLOCK]):
            yield messages, tools, {}, True
    yield PLAIN["turns"], None, {"enable_thinking": False}, True
    yield PLAIN["thinking"], None, {"enable_thinking": True}, True
    yield PLAIN["system"], None, {"date_string": "1 Jan 2030"}, True
    yield WITH_TOOLS["system"], [WEATHER], {"tools_in_user_message": False}, True
    yield WITH_TOOLS["asked"], [WEATHER], {"builtin_tools": ["brave_search", "code_interpreter"]}, True
    yield WITH_TOOLS["called"], [WEATHER], {"custom_tools": [CLOCK]}, False
    yield PLAIN["one"], None, {"documents": [{"title": "T", "text": "A document"}]}, True
    yield PLAIN["one"], None, {"reasoning_effort": "high", "thinking": True}, True


def models():
    """The templates of the models that graft must know."""
    from tests.support import smollm2

    found = {"smollm2": smollm2.metadata(smollm2.open_gguf(), "tokenizer.chat_template")}
    for name in ("llama3_1", "qwen3", "gemma3", "deepseek_v3", "mistral_nemo"):
        path = ROOT / ".cache" / "npm" / f"tokenizer-{name}" / "models" / "tokenizer_config.json"
        if not path.exists():
            raise SystemExit(f"{path} is missing: run scripts/setup.sh")
        found[name] = json.loads(path.read_text())["chat_template"]
    for name in ("llama3_1", "llama3_2", "llama3", "qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen2_5_training",
                 "qwen3_training", "llama3_training"):
        found[f"trl_{name}"] = families()[name]
    return found


def families():
    """Those of many more models, from the package trl."""
    spec = importlib.util.find_spec("trl")
    if spec is None:
        raise SystemExit("the package trl is not installed: run scripts/setup.sh")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "chat_templates"
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}


def merged(spans):
    """Without empty ones, and those that touch as one."""
    result = []
    for begin, end in spans:
        if begin == end:
            continue
        if result and result[-1][1] == begin:
            result[-1][1] = end
        else:
            result.append([begin, end])
    return result


def mask_cases(folder):
    from transformers import PreTrainedTokenizerFast

    path = ROOT / ".cache" / "npm" / "tokenizer-qwen3" / "models" / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    source = families()["qwen3_training"]
    (folder / "templates.jsonl").write_text(json.dumps({"name": "qwen3_training", "source": source}) + "\n")
    with open(folder / "cases.jsonl", "w") as lines:
        for messages, tools, extra, add_generation_prompt in cases():
            case = expectation(source, messages, tools, {k: v for k, v in extra.items() if k != "documents"}, add_generation_prompt)
            # Contents that look like special tokens are told apart here only.
            if "error" in case or not messages or "looks_like" in json.dumps(messages) or "<|im_end|>" in json.dumps(messages) or "<think>" in json.dumps(messages) or "tool_response" in json.dumps(messages):
                continue
            out = tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=source, add_generation_prompt=add_generation_prompt, tokenize=True,
                return_dict=True, return_assistant_tokens_mask=True, **case["extra"])
            lines.write(json.dumps({"template": "qwen3_training", **case, "ids": out["input_ids"],
                                    "mask": out["assistant_masks"]}) + "\n")
    (folder / "tokenizer").write_text(str(path))


NAMED = [
    {"config": "{{ 'config' }}"},
    {"config": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]},
    {"config": [{"name": "default", "template": "D"}, {"name": "rag", "template": "R"}]},
    {"config": [{"name": "tool_use", "template": "T"}, {"name": "rag", "template": "R"}]},
    {"config": "C", "file": "F"},
    {"file": "F", "more": {"tool_use": "FT", "rag": "FR"}},
    {"config": [{"name": "default", "template": "D"}], "file": "F", "more": {"extra": "E"}},
    {"config": "C", "more": {"tool_use": "FT"}},
    {},
]


def named_cases(folder):
    from tokenizers import Tokenizer, models as tokenizer_models
    from transformers import PreTrainedTokenizerFast

    with open(folder / "cases.jsonl", "w") as lines:
        for number, named in enumerate(NAMED):
            directory = folder / str(number)
            directory.mkdir()
            Tokenizer(tokenizer_models.WordLevel({"a": 0}, unk_token="a")).save(str(directory / "tokenizer.json"))
            config = {"tokenizer_class": "PreTrainedTokenizerFast"}
            if "config" in named:
                config["chat_template"] = named["config"]
            (directory / "tokenizer_config.json").write_text(json.dumps(config))
            if "file" in named:
                (directory / "chat_template.jinja").write_text(named["file"])
            for name, source in named.get("more", {}).items():
                (directory / "additional_chat_templates").mkdir(exist_ok=True)
                (directory / "additional_chat_templates" / f"{name}.jinja").write_text(source)
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(directory))
            for name, tools in ((None, None), (None, [CLOCK]), ("rag", None), ("tool_use", None), ("default", None)):
                known = isinstance(tokenizer.chat_template, dict) and name in tokenizer.chat_template
                case = {"directory": str(number), "name": name or "", "tools": tools}
                try:
                    if name is not None and not known:
                        raise ValueError("no template of this name")
                    case["text"] = tokenizer.apply_chat_template([message("user", "x")], chat_template=name, tools=tools, tokenize=False)
                except ValueError as error:
                    case["error"] = str(error)
                lines.write(json.dumps(case) + "\n")


def expectation(source, messages, tools, extra, add_generation_prompt):
    given = {"messages": messages, "tools": tools, "extra": {**SPECIALS, **extra},
             "add_generation_prompt": add_generation_prompt}
    arguments = json.loads(json.dumps(given))
    try:
        marks = re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", source) is not None
        rendered, spans = chat_template_utils.render_jinja_template(
            [arguments["messages"]], tools=arguments["tools"], chat_template=source, return_assistant_tokens_mask=marks,
            add_generation_prompt=add_generation_prompt, **arguments["extra"])
        return {**given, "text": rendered[0], **({"generated": merged(spans[0])} if marks else {})}
    except Exception as error:  # whatever a template does wrong
        raised = {"raised": str(error)} if type(error) is jinja2.exceptions.TemplateError else {}
        return {**given, "error": str(error), **raised}


def main():
    which, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    chat_template_utils.datetime = FrozenTime
    if which in ("masks", "named"):
        return {"masks": mask_cases, "named": named_cases}[which](folder)
    templates = {"models": models, "families": families}[which]()
    with open(folder / "templates.jsonl", "w") as lines:
        for name, source in templates.items():
            lines.write(json.dumps({"name": name, "source": source}) + "\n")
    with open(folder / "cases.jsonl", "w") as lines:
        for name, source in templates.items():
            for case in cases():
                lines.write(json.dumps({"template": name, **expectation(source, *case)}) + "\n")


if __name__ == "__main__":
    main()
