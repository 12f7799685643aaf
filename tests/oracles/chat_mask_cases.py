"""Expectations for src/recipe/chat_mask_test.cc from transformers' apply_chat_template.

    python3 -m tests.oracles.chat_mask_cases masks FOLDER

Writes FOLDER/tokenizer (the path of Qwen3's tokenizer.json), FOLDER/templates.jsonl ({"name", "source", "plain"}: a
template with {% generation %} blocks, and the model's own without them, or null) and FOLDER/cases.jsonl, a chat by chance
per line: {"template", "messages", "tools"} with "ids" and "mask" from return_assistant_tokens_mask, and "same": whether
the template without blocks renders the same text.
"""

import json
import pathlib
import random
import sys

from tests.oracles.chat_template_cases import CLOCK, ROOT, WEATHER, call, families, message

WORDS = ["Hello", "what", "is", "the", "weather", "in", "Zürich", "?", "\n", "\n\n", "  ", "it's", "21.5", "°C", "日本語", "👩‍👧",
         "def f(x):", "return", "{\"a\": 1}", "</b>", ".", "!", "naïve", "\t"]
CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
          "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
PLAIN_CHATML = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")


def text(chance):
    while True:
        said = "".join(chance.choice(("", " ")) + chance.choice(WORDS) for _ in range(chance.randint(1, 12)))
        if said.strip():
            return said


def chat(chance, with_tools):
    messages = [message("system", text(chance))] if chance.random() < 0.4 else []
    for _ in range(chance.randint(1, 4)):
        messages.append(message("user", text(chance)))
        if with_tools and chance.random() < 0.6:
            calls = [call("get_weather", {"city": text(chance), "days": 2})]
            if chance.random() < 0.3:
                calls.append(call("clock", {}))
            messages.append(message("assistant", chance.choice(("", text(chance))), tool_calls=calls))
            messages += [message("tool", text(chance)) for _ in calls]
        messages.append(message("assistant", text(chance)))
    return messages


def write_masks(folder):
    from transformers import PreTrainedTokenizerFast

    path = ROOT / ".cache" / "npm" / "tokenizer-qwen3" / "models" / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    (folder / "tokenizer").write_text(str(path))
    found = families()
    templates = {"chatml": (CHATML, PLAIN_CHATML, False)}
    for name in ("qwen3", "qwen2_5"):
        templates[name] = (found[f"{name}_training"], found[name], True)
    with open(folder / "templates.jsonl", "w") as lines:
        for name, (source, plain, _) in templates.items():
            lines.write(json.dumps({"name": name, "source": source, "plain": plain}) + "\n")
    chance = random.Random(4)
    with open(folder / "cases.jsonl", "w") as lines:
        for name, (source, plain, tools_too) in templates.items():
            for number in range(60):
                tools = [WEATHER, CLOCK] if tools_too and number % 2 else None
                messages = chat(chance, tools is not None)
                out = tokenizer.apply_chat_template(messages, tools=tools, chat_template=source, tokenize=True,
                                                    return_dict=True, return_assistant_tokens_mask=True)
                shown = [tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, tokenize=False)
                         for template in (source, plain)]
                lines.write(json.dumps({"template": name, "messages": messages, "tools": tools, "ids": out["input_ids"],
                                        "mask": out["assistant_masks"], "same": shown[0] == shown[1]}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] != "masks":
        raise SystemExit(__doc__)
    write_masks(pathlib.Path(sys.argv[2]))
