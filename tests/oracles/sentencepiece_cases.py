"""SentencePiece models and what the package `sentencepiece` makes of text, for src/text/sentencepiece_test.cc.

    python3 -m tests.oracles.sentencepiece_cases all FOLDER

trains small models and writes for each FOLDER/x.model and FOLDER/x.jsonl: {"hex": text, "ids": [...], "text": decoded};
and FOLDER/bpe_llama.gguf, a GGUF file with the same tokenizer in its metadata; and of transformers' class for LLaMA
FOLDER/llama.configs: {"config": tokenizer_config.json, "hex": text, "ids": [...], "text": decoded}.
"""

import io
import json
import pathlib
import sys

import sentencepiece

from tests.oracles.nasty_text import FRAGMENTS, fuzzed_strings, nasty_strings

CORPUS = FRAGMENTS + ["the quick brown fox jumps over the lazy dog", "the theory of the thing", "12 123 1234 12345"]
IDENTITY = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
KINDS = {
    # As LLaMA's: nothing is normalised, unknown characters are spelled in bytes.
    "bpe_llama": {"model_type": "bpe", "byte_fallback": True, **IDENTITY},
    "bpe_no_prefix": {"model_type": "bpe", "byte_fallback": True, "add_dummy_prefix": False, **IDENTITY},
    "bpe_unknown": {"model_type": "bpe", **IDENTITY},
    "bpe_spaces": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
    "unigram": {"model_type": "unigram", **IDENTITY},
    "unigram_bytes": {"model_type": "unigram", "byte_fallback": True, **IDENTITY},
    "unigram_nfkc": {"model_type": "unigram", "byte_fallback": True},
    "bpe_user_defined": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": ["<|im_end|>", "don", "▁▁"],
                         **IDENTITY},
}


def proto_of(data):
    """A tokenizer.model taken apart by Google's own protobuf classes."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data)
    return proto


def trained(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=600,
                                             hard_vocab_limit=False, minloglevel=2, **options)
    return model.getvalue()


def texts_for(name):
    texts = [*nasty_strings(450), *fuzzed_strings(300)]
    # Control tokens in a text are text to sentencepiece, and tokens to us; a zero byte ends its texts.
    texts = [text for text in texts if not any(part in text for part in ("<s>", "</s>", "<unk>", "\x00"))]
    if name == "bpe_spaces":  # what spells a space counts as one there
        texts = [text for text in texts if "▁" not in text]
    if name == "bpe_user_defined":  # after one, we put another space in front, as transformers does
        texts = [text for text in texts if text.isascii() and not any(s in text for s in ("<|im_end|>", "don", "  "))]
    if name == "unigram_nfkc":  # composed by other rules where characters combine
        texts = [text for text in texts if text.isascii()]
    return texts


def write_gguf(path, proto):
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    writer.add_unk_token_id(proto.trainer_spec.unk_id)
    writer.add_bos_token_id(proto.trainer_spec.bos_id)
    writer.add_eos_token_id(proto.trainer_spec.eos_id)
    writer.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


LLAMA_CONFIGS = [{"legacy": legacy, "add_prefix_space": prefix, "add_bos_token": legacy is None}
                 for legacy in (False, True, None) for prefix in (True, False, None)]
LLAMA_CONFIGS += [{}, {"legacy": False}, {"add_prefix_space": False}, {"legacy": False, "add_eos_token": True}]


def write_llama_configs(folder, data):
    """What transformers makes of a tokenizer.model and the tokenizer_config.json beside it."""
    from transformers import LlamaTokenizerFast

    texts = texts_for("bpe_llama")[::6] + [
        "the</s>the", "</s> the", "the </s>  the", "  the", "\u2581the", "<s><s>the", "<s>", "", " ", "</s>\u2581</s>"]
    with open(folder / "llama.configs", "w") as lines:
        for number, config in enumerate(LLAMA_CONFIGS):
            directory = folder / f"llama{number}"
            directory.mkdir()
            config = {"tokenizer_class": "LlamaTokenizer", **config}
            (directory / "tokenizer.model").write_bytes(data)
            (directory / "tokenizer_config.json").write_text(json.dumps(config))
            tokenizer = LlamaTokenizerFast.from_pretrained(str(directory))
            for text in texts:
                ids = tokenizer.encode(text)
                lines.write(json.dumps({"config": json.dumps(config), "hex": text.encode().hex(), "ids": ids,
                                        "text": tokenizer.decode(ids)}) + "\n")


def main():
    folder = pathlib.Path(sys.argv[2])
    for name, options in KINDS.items():
        data = trained(**options)
        (folder / f"{name}.model").write_bytes(data)
        if name == "bpe_llama":
            write_gguf(folder / f"{name}.gguf", proto_of(data))
            write_llama_configs(folder, data)
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        with open(folder / f"{name}.jsonl", "w") as lines:
            for text in texts_for(name):
                ids = processor.encode(text)
                known = [i for i in ids if i != processor.unk_id()]
                lines.write(json.dumps({"hex": text.encode().hex(), "ids": ids, "text": processor.decode(known)}) + "\n")


if __name__ == "__main__":
    main()
