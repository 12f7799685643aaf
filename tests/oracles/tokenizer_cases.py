"""Expectations for src/text/tokenizer_test.cc from the package `tokenizers`.

    python3 -m tests.oracles.tokenizer_cases NAME FOLDER

writes for each tokenizer that NAME stands for FOLDER/x.json (a tokenizer.json) and FOLDER/x.jsonl, a case per line:
{"hex": input, "ids": [...], "with_special": [...], "offsets": [[begin, end]...] in bytes, "skipped": text, "kept": text}
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.oracles.nasty_text import FRAGMENTS, nasty_bytes, nasty_strings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CORPUS = FRAGMENTS + ["the quick brown fox jumps over the lazy dog", "the theory of the thing", "12 123 1234 12345"]


def npm(name):
    """A tokenizer.json of the packages that scripts/setup.sh puts into .cache/npm."""
    path = ROOT / ".cache" / "npm" / name / "models" / "tokenizer.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run scripts/setup.sh")
    return Tokenizer.from_file(str(path))


def smollm2():
    from tests.support import smollm2 as model

    return model.tokenizer_of(model.open_gguf()).backend_tokenizer


def trained(pre_tokenizer, normalizer=None, vocab_size=600, tokens=(), special=(), **model):
    """A tiny byte-level BPE."""
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens(list(tokens))
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def gpt2_like():
    """Every attribute of added tokens, a template, NFC."""
    tokenizer = trained(
        byte_level(add_prefix_space=True), normalizers.Sequence([normalizers.NFC()]),
        tokens=[AddedToken("café", normalized=True), AddedToken("hello", normalized=True, single_word=True),
                AddedToken("<|im_start|", normalized=False), AddedToken("<repo_name>", lstrip=True, normalized=False),
                AddedToken("<file_sep>", rstrip=True, normalized=False), AddedToken("\u212b", normalized=True),
                AddedToken("  \t", normalized=False), AddedToken("don", single_word=True, normalized=False)],
        special=[AddedToken("<|im_start|>", lstrip=True, rstrip=True), AddedToken("<|im_end|>"),
                 AddedToken("<|endoftext|>", rstrip=True)])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|im_start|> $A <|im_end|> <|endoftext|>",
                                      special_tokens=[(t, tokenizer.token_to_id(t))
                                                      for t in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")])])
    return tokenizer


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tiny():
    """Small tokenizers that differ in one stage each."""
    made = {"gpt2": gpt2_like()}
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for name, pattern in (("space", " "), ("class", Regex(r"\p{N}|[a-c]+")), ("empty", Regex(r"[0-9]*"))):
            for invert in (False, True):
                made[f"split_{behavior}_{name}_{invert}".lower()] = trained(pre_tokenizers.Sequence(
                    [pre_tokenizers.Split(pattern, behavior, invert=invert), byte_level(use_regex=False)]))
    for name, pattern in (("llama3", LLAMA3), ("o200k", O200K), ("negated", r"\P{L}+|[^\d\W]+|\p{^Lu}")):
        made[name] = trained(pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level(use_regex=False)]))
    # The same pattern, spelled so that no shortcut knows it.
    made["llama3_slow"] = trained(pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(f"(?:{LLAMA3})"), "isolated"), byte_level(use_regex=False)]))
    made["digits_runs"] = trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(), byte_level()]))
    made["digits_single"] = trained(pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=False)]))
    # The byte-level spelling is visible to what comes after it.
    made["byte_level_first"] = trained(pre_tokenizers.Sequence(
        [byte_level(), pre_tokenizers.Split("Ġ", "isolated"), byte_level(use_regex=False, add_prefix_space=True)]))
    made["ignore_merges"] = trained(byte_level(), ignore_merges=True)
    made["unknown"] = without_bytes("<unk>", fuse_unk=False)
    made["unknown_fused"] = without_bytes("<unk>", fuse_unk=True)
    made["unknown_dropped"] = without_bytes(None, fuse_unk=False)
    made["fallback"] = without_bytes("<unk>", fuse_unk=True, byte_fallback=True)
    made["no_stages"] = no_stages()
    return made


def without_bytes(unk, **options):
    """The vocabulary lacks most characters."""
    vocab, merges = ["<unk>", "a", "b", "c", "ab", "abc", "Ġ", "Ġa", "t", "h", "th", "e", "the"], [
        ("a", "b"), ("ab", "c"), ("Ġ", "a"), ("t", "h"), ("th", "e")]
    if options.get("byte_fallback"):
        vocab += [f"<0x{byte:02X}>" for byte in range(0xC0, 0x100)] + [f"<0x{byte:02X}>" for byte in range(0x80, 0xB8)]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=merges, unk_token=unk, **options))
    tokenizer.pre_tokenizer = byte_level()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def no_stages():
    tokenizer = Tokenizer(models.BPE(vocab={"<unk>": 0, "a": 1, "é": 2, "aé": 3, " ": 4}, merges=[("a", "é")],
                                     unk_token="<unk>"))
    tokenizer.add_special_tokens(["<|im_end|>"])
    return tokenizer


def byte_offsets(text, encoding):
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode()))
    return [[starts[begin], starts[end]] for begin, end in encoding.offsets]


def case(tokenizer, data):
    text = data.decode("utf-8", "replace")
    plain = tokenizer.encode(text, add_special_tokens=False)
    return {
        "hex": data.hex(),
        "ids": plain.ids,
        "with_special": tokenizer.encode(text).ids,
        "offsets": byte_offsets(text, plain),
        "skipped": tokenizer.decode(plain.ids, skip_special_tokens=True),
        "kept": tokenizer.decode(plain.ids, skip_special_tokens=False),
    }


def write(folder, name, tokenizer, inputs):
    (folder / f"{name}.json").write_text(tokenizer.to_str())
    with open(folder / f"{name}.jsonl", "w") as lines:
        for data in inputs:
            lines.write(json.dumps(case(tokenizer, data)) + "\n")


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if name == "tiny":
        inputs = [text.encode() for text in nasty_strings(450)] + nasty_bytes(40)
        for variant, tokenizer in tiny().items():
            write(folder, variant, tokenizer, inputs)
        return
    real = {"smollm2": smollm2, "llama3_1": lambda: npm("tokenizer-llama3_1"), "qwen3": lambda: npm("tokenizer-qwen3")}
    write(folder, name, real[name](), [text.encode() for text in nasty_strings()] + nasty_bytes())


if __name__ == "__main__":
    main()
