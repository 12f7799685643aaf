"""The served model is the model: logprobs of SmolLM2 against transformers at every position of a long text."""

import json
import urllib.request

import torch
import transformers

# Prose, code, numbers, several scripts and an e-mail's header: what a model meets, of over 500 tokens.
PARAGRAPHS = [
    "The kettle had been on for some time before anybody noticed. Outside, a van was reversing into the yard, and the "
    "dog, which disliked vans, had gone under the table to wait until it was over.",
    "def bisect(values, wanted):\n    low, high = 0, len(values)\n    while low < high:\n        middle = (low + high) // 2\n"
    "        if values[middle] < wanted:\n            low = middle + 1\n        else:\n            high = middle\n"
    "    return low\n",
    "From: Anna Kowalska <anna@example.org>\nDate: Tue, 14 May 2002 09:31:07 +0200\nSubject: Re: [list] 3 tickets left?"
    "\n\n> I can bring 2 of them on Friday (17:45, platform 9).\nThanks, that would be 43.50 in all.",
    "Der Zug nach Köln fährt um 7.12 Uhr. Le café est fermé le lundi. El niño comió piñas. 東京は今日も晴れです。 "
    "Москва слезам не верит. 🙂🙃",
    "Table 4. Yield (t/ha) by year: 1998 5.21; 1999 4.87; 2000 6.02; 2001 5.55. The difference between the first and the "
    "last is 0.34, which is not significant (p = 0.21, n = 48).",
    "<html><body bgcolor=#ffffff>\n<p>Dear friend,<br>\nYou have been SELECTED!!! Reply within 24 hours&nbsp;to claim "
    "<b>$1,000,000.00</b>.</p>\n</body></html>",
    "Q: What do the tides depend on?\nA: On the moon, mostly, and on the sun; on the shape of the coast and the depth of "
    "the sea; and, for an hour or two, on the wind.",
    "Once the flour has been sifted, fold it in slowly. If the dough sticks to the spoon, add a little more; if it breaks, "
    "add water. Leave it for an hour, covered, in a warm place, and do not open the window.",
]
TEXT = "\n\n".join(PARAGRAPHS)
POSITIONS = 500


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


def test_logprobs_equal_transformers_at_every_position_of_a_long_text(serve, smollm2_hf):
    server = serve("--dtype", "float32")
    answer = post(server.url + "/generate", {"inputs": TEXT, "parameters": {
        "max_new_tokens": 1, "details": True, "decoder_input_details": True}})
    server.stop()
    prefill = answer["details"]["prefill"]
    ids = [token["id"] for token in prefill]
    assert len(ids) >= POSITIONS

    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_hf)
    assert ids == tokenizer(TEXT)["input_ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2_hf, dtype=torch.float32)
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
    wanted = logprobs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    served = torch.tensor([token["logprob"] for token in prefill[1:]], dtype=torch.float64)
    worst = (served - wanted).abs().max().item()
    assert worst <= 1e-3, f"logprobs differ by {worst}"

    # The token after the text too: the likeliest of both, with the same logprob.
    generated = answer["details"]["tokens"][0]
    assert generated["id"] == logprobs[-1].argmax().item()
    assert abs(generated["logprob"] - logprobs[-1].max().item()) <= 1e-3
