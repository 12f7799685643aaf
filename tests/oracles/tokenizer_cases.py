"""Expectations for src/text/tokenizer_test.cc from the package `tokenizers`.

    python3 -m tests.oracles.tokenizer_cases NAME FOLDER

writes for each tokenizer that NAME stands for FOLDER/x.json (a tokenizer.json) and FOLDER/x.jsonl, a case per line:
{"hex": input, "ids": [...], "with_special": [...], "offsets": [[begin, end]...] in bytes, "skipped": text, "kept": text}
and, where the tokenizer is small, FOLDER/x.ids.jsonl: {"ids": [...], "skipped": text, "kept": text} for random ids.

NAME is that of a real tokenizer, or `tiny` (byte-level BPE), `kinds` (every other normaliser, pre-tokenizer, model,
post-processor and decoder).
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.oracles.nasty_text import FRAGMENTS, fuzzed_strings, nasty_bytes, nasty_strings

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


def phi3():
    """Phi-3's: Llama 2's, and its own added tokens, which swallow the white space behind them."""
    tokenizer = npm("tokenizer-llama2")
    names = ["endoftext", "assistant", "placeholder1", "placeholder2", "placeholder3", "placeholder4", "system", "end",
             "placeholder5", "placeholder6", "user"]
    tokenizer.add_special_tokens(
        [AddedToken(f"<|{name}|>", normalized=False, rstrip=name != "endoftext") for name in names])
    assert tokenizer.token_to_id("<|user|>") == 32010
    return tokenizer


PHI3_TEXTS = ["<|user|>\nHi<|end|>\n<|assistant|>\n", "<|system|>  \n\t Be brief. <|end|> \n<|user|>", "<|assistant|>",
              "x<|end|>\u00a0\u3000 y", "<|endoftext|>  z", "<|placeholder3|> a <|placeholder9|> b", "<|end|><|end|>\n\n<|end|>"]


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


def charsmap():
    """The normalisation rules of SentencePiece's nmt_nfkc, as it compiles them."""
    import io

    import sentencepiece

    from tests.oracles.sentencepiece_cases import proto_of

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=300,
                                             hard_vocab_limit=False, minloglevel=2)
    return proto_of(model.getvalue()).normalizer_spec.precompiled_charsmap


def normalizer_kinds():
    n = normalizers
    return {
        "nfc": n.NFC(), "nfd": n.NFD(), "nfkc": n.NFKC(), "nfkd": n.NFKD(), "lowercase": n.Lowercase(), "nmt": n.Nmt(),
        "strip_accents": n.Sequence([n.NFKD(), n.StripAccents()]), "accents_only": n.StripAccents(),
        "replace": n.Replace("ab", "x▁y"), "replace_regex": n.Replace(Regex(r"\s+|[0-9]"), "-"),
        "remove": n.Replace(Regex(r"[aeiou ]"), ""), "prepend": n.Sequence([n.Prepend("▁é"), n.Replace(" ", "▁")]),
        "strip": n.Strip(), "strip_left": n.Strip(right=False), "strip_right": n.Strip(left=False),
        "strip_twice": n.Sequence([n.Strip(), n.Prepend("▁"), n.Lowercase(), n.NFKC()]),
        "bert": n.BertNormalizer(), "bert_cased": n.BertNormalizer(lowercase=False),
        "bert_accents": n.BertNormalizer(clean_text=False, strip_accents=False, handle_chinese_chars=False),
        "precompiled": n.Precompiled(charsmap()),
        "precompiled_more": n.Sequence([n.Precompiled(charsmap()), n.Replace(Regex(" {2,}"), " "), n.Prepend("▁")]),
        "many": n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase(), n.Replace("ss", "ß"), n.Strip(), n.NFC()]),
    }


def pre_tokenizer_kinds():
    p = pre_tokenizers
    made = {f"metaspace_{scheme}_{split}".lower(): p.Metaspace(prepend_scheme=scheme, split=split)
            for scheme in ("first", "never", "always") for split in (True, False)}
    made |= {f"punctuation_{behavior}": p.Punctuation(behavior)
             for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")}
    return made | {
        "metaspace_other": p.Metaspace(replacement="_"), "whitespace": p.Whitespace(),
        "whitespace_split": p.WhitespaceSplit(), "delimiter": p.CharDelimiterSplit("e"), "bert_split": p.BertPreTokenizer(),
        "scripts": p.UnicodeScripts(), "fixed_length": p.FixedLength(3),
        "nested": p.Sequence([p.WhitespaceSplit(), p.Sequence([p.Punctuation(), p.Metaspace()]), p.Digits()]),
    }


def model_of(model, trainer, pre_tokenizer, normalizer=None, decoder=None, post_processor=None, tokens=(), **changes):
    """A trained model of any kind; `changes` are made to the model in the file."""
    tokenizer = Tokenizer(model)
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(CORPUS, trainer)
    if decoder is not None:
        tokenizer.decoder = decoder
    if post_processor is not None:
        tokenizer.post_processor = post_processor(tokenizer)
    if changes:
        file = json.loads(tokenizer.to_str())
        file["model"] |= changes
        tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.add_tokens(list(tokens))
    return tokenizer


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA2_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]


def model_kinds():
    t, d, n = trainers, decoders, normalizers
    quiet = {"show_progress": False}
    llama2 = n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])
    words = {"vocab_size": 400, "special_tokens": ["[UNK]", "[CLS]", "[SEP]"], **quiet}

    def around(tokenizer, kind, **options):
        return kind(("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")), **options)

    def sentencepiece_bpe(tokens=BYTES, **options):
        return model_of(models.BPE(unk_token="<unk>", **options), t.BpeTrainer(
            vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *tokens], **quiet), None, llama2,
            d.Sequence(LLAMA2_DECODER))

    made = {
        "spm_bpe": sentencepiece_bpe(byte_fallback=True, fuse_unk=True),
        "spm_bpe_some_bytes": sentencepiece_bpe(BYTES[:0xD0], byte_fallback=True, fuse_unk=True),
        "spm_bpe_unk": sentencepiece_bpe([], fuse_unk=True),
        "spm_bpe_unk_each": sentencepiece_bpe([], fuse_unk=False, ignore_merges=True),
        "bpe_suffix": model_of(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"), t.BpeTrainer(
            end_of_word_suffix="</w>", **words), pre_tokenizers.WhitespaceSplit(), decoder=d.BPEDecoder()),
        "bpe_prefix": model_of(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True),
                               t.BpeTrainer(continuing_subword_prefix="##", **words), pre_tokenizers.Whitespace(),
                               decoder=d.WordPiece()),
        "bpe_affixes_bytes": model_of(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>", byte_fallback=True), t.BpeTrainer(
            end_of_word_suffix="</w>", vocab_size=600, special_tokens=["[UNK]", *BYTES], **quiet),
            pre_tokenizers.WhitespaceSplit(), decoder=d.BPEDecoder()),
        "word_piece": model_of(models.WordPiece(unk_token="[UNK]"), t.WordPieceTrainer(**words),
                               pre_tokenizers.BertPreTokenizer(), n.BertNormalizer(), d.WordPiece(),
                               lambda tokenizer: around(tokenizer, processors.BertProcessing)),
        "word_piece_short": model_of(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=6),
                                     t.WordPieceTrainer(continuing_subword_prefix="__", **words), pre_tokenizers.Whitespace(), None,
                                     d.WordPiece(prefix="__", cleanup=False), continuing_subword_prefix="__"),
        "word_level": model_of(models.WordLevel(unk_token="[UNK]"), t.WordLevelTrainer(**words),
                               pre_tokenizers.Whitespace(), n.Lowercase(), None),
        "unigram": model_of(models.Unigram(), t.UnigramTrainer(vocab_size=300, unk_token="<unk>",
                                                               special_tokens=["<unk>", "<s>"], **quiet),
                            pre_tokenizers.Metaspace(), n.NFKC(), d.Metaspace()),
        "unigram_whole": model_of(models.Unigram(), t.UnigramTrainer(
            vocab_size=500, unk_token="<unk>", special_tokens=["<unk>", *BYTES], **quiet),
            pre_tokenizers.Metaspace(split=False), None, d.Sequence([d.ByteFallback(), d.Metaspace()]), byte_fallback=True),
        "roberta": model_of(models.BPE(), t.BpeTrainer(
            vocab_size=500, special_tokens=["[CLS]", "[SEP]"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **quiet),
            pre_tokenizers.ByteLevel(), None, d.ByteLevel(),
            lambda tokenizer: around(tokenizer, processors.RobertaProcessing)),
        "trimmed": model_of(models.BPE(), t.BpeTrainer(
            vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **quiet),
            pre_tokenizers.ByteLevel(add_prefix_space=False), None, d.ByteLevel(),
            lambda tokenizer: processors.ByteLevel(trim_offsets=True, add_prefix_space=False)),
    }
    byte_normalized = model_of(models.BPE(), t.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **quiet),
        pre_tokenizers.Split(Regex("Ġ?[a-z]+"), "isolated"), n.ByteLevel(), d.ByteLevel())
    unigram = json.loads(made["unigram"].to_str())
    unigram["model"]["vocab"] = [["<unk>", 0.0], ["▁", -1.0], ["a", -1.0], ["b", -1.0], ["ab", -2.0], ["ba", -2.0],
                                 ["aba", -3.0], ["▁a", -2.0], ["é", 2.5], ["<0x41>", 1.0], ["xy", -50.0]]
    unigram["added_tokens"] = []
    return made | {"byte_normalized": byte_normalized, "unigram_ties": Tokenizer.from_str(json.dumps(unigram))}


def decoder_kinds():
    d = decoders
    return {
        "ctc": d.CTC(pad_token="a", word_delimiter_token="▁"), "ctc_plain": d.CTC(pad_token="e", cleanup=False),
        "replace_regex": d.Replace(Regex("[aeiou]|▁"), "<>"), "replace": d.Sequence([d.Replace("▁", " "), d.Replace("th", "zz")]),
        "fused_replace": d.Sequence([d.Fuse(), d.Replace("▁", " "), d.Replace("e ", "E_"), d.Replace(Regex("[th]+"), "#")]),
        "strip": d.Sequence([d.Fuse(), d.Strip("▁", 2, 0)]), "strip_tokens": d.Strip("▁", 1, 0),
        "metaspace_never": d.Metaspace(prepend_scheme="never"), "metaspace_first": d.Metaspace(prepend_scheme="first"),
        "word_piece": d.WordPiece(prefix="t"), "suffix": d.BPEDecoder(suffix="e"), "bytes": d.ByteFallback(),
        "bytes_fused": d.Sequence([d.ByteFallback(), d.Fuse(), d.Replace("▁", "")]), "empty": d.Sequence([]),
        "byte_level": d.ByteLevel(),
    }


def kinds():
    made = {f"normalizer_{name}": trained(byte_level(use_regex=False), normalizer, tokens=[
        AddedToken("Café", normalized=True), AddedToken("Hello", normalized=True, single_word=True)])
        for name, normalizer in normalizer_kinds().items()}
    made |= {f"pre_{name}": trained(pre_tokenizers.Sequence([pre_tokenizer, byte_level(use_regex=False)]))
             for name, pre_tokenizer in pre_tokenizer_kinds().items()}
    of_models = model_kinds()
    for name, decoder in decoder_kinds().items():
        made[f"decoder_{name}"] = Tokenizer.from_str(of_models["spm_bpe"].to_str())
        made[f"decoder_{name}"].decoder = decoder
    return made | {f"model_{name}": tokenizer for name, tokenizer in of_models.items()}


def byte_offsets(text, encoding):
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode()))
    # Where the package counts beyond the text, its ranges are of no use, and were never converted to characters.
    return [[starts[begin], starts[end]] if end < len(starts) else None for begin, end in encoding.offsets]


def decoded(tokenizer, ids):
    return {"skipped": tokenizer.decode(ids, skip_special_tokens=True), "kept": tokenizer.decode(ids, skip_special_tokens=False)}


def case(tokenizer, data):
    text = data.decode("utf-8", "replace")
    plain, special = tokenizer.encode(text, add_special_tokens=False), tokenizer.encode(text)
    return {"hex": data.hex(), "ids": plain.ids, "with_special": special.ids, "offsets": byte_offsets(text, plain),
            "special_offsets": byte_offsets(text, special), **decoded(tokenizer, plain.ids)}


def write(folder, name, tokenizer, inputs):
    (folder / f"{name}.json").write_text(tokenizer.to_str())
    with open(folder / f"{name}.jsonl", "w") as lines:
        for data in inputs:
            lines.write(json.dumps(case(tokenizer, data)) + "\n")


def write_random_ids(folder, name, tokenizer, count=60):
    rng = random.Random(17)
    with open(folder / f"{name}.ids.jsonl", "w") as lines:
        for _ in range(count):
            ids = [rng.randrange(tokenizer.get_vocab_size()) for _ in range(rng.randint(1, 30))]
            lines.write(json.dumps({"ids": ids, **decoded(tokenizer, ids)}) + "\n")


def clean_up(folder):
    """What transformers makes of spaces in a decoded text."""
    from transformers import PreTrainedTokenizerBase

    with open(folder / "clean_up.jsonl", "w") as lines:
        for text in [*nasty_strings(300), *fuzzed_strings(300, alphabet=" .?!,'ntmsvredo")]:
            lines.write(json.dumps({"text": text, "clean": PreTrainedTokenizerBase.clean_up_tokenization(text)}) + "\n")


def configured(folder):
    """Directories 0, 1, ... with a tokenizer and its config, and how transformers decodes with each: cases.jsonl."""
    from transformers import AutoTokenizer

    words = ["do", "not", "n't", "'s", "'m", "'ve", "'re", "'", ".", ",", "?", "!", "the", "I", "x"]
    spaced = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="x"))
    spaced.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizers = {"bytes": trained(pre_tokenizers.ByteLevel(add_prefix_space=False)), "spaced": spaced}
    configs = [{}, {"clean_up_tokenization_spaces": True}, {"clean_up_tokenization_spaces": False},
               {"clean_up_tokenization_spaces": None}]
    rng = random.Random(4)
    texts = [*nasty_strings(60), *(" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(100))]
    with open(folder / "cases.jsonl", "w") as lines:
        for number, (name, config) in enumerate((name, config) for name in tokenizers for config in configs):
            directory = folder / str(number)
            directory.mkdir()
            tokenizers[name].save(str(directory / "tokenizer.json"))
            (directory / "tokenizer_config.json").write_text(
                json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config}))
            tokenizer = AutoTokenizer.from_pretrained(str(directory))
            for text in texts:
                ids = tokenizer.encode(text)
                lines.write(json.dumps({"directory": str(number), "ids": ids, "text": tokenizer.decode(ids)}) + "\n")


REAL = ("llama2", "llama3_1", "gemma3", "qwen3", "deepseek_v3", "mistral_nemo")


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if name == "clean_up":
        clean_up(folder)
    elif name == "configured":
        configured(folder)
    elif name in ("tiny", "kinds"):
        inputs = [text.encode() for text in nasty_strings(450)] + nasty_bytes(40)
        if name == "kinds":
            inputs = [text.encode() for text in [*nasty_strings(250), *fuzzed_strings(150)]] + nasty_bytes(20)
        for variant, tokenizer in {"tiny": tiny, "kinds": kinds}[name]().items():
            write(folder, variant, tokenizer, inputs)
            write_random_ids(folder, variant, tokenizer)
    else:
        own = {"smollm2": smollm2, "phi3": phi3}
        tokenizer = own[name]() if name in own else npm(f"tokenizer-{name}")
        texts = [text.encode() for text in [*nasty_strings(), *fuzzed_strings(), *(PHI3_TEXTS if name == "phi3" else [])]]
        write(folder, name, tokenizer, texts + nasty_bytes())


if __name__ == "__main__":
    main()
