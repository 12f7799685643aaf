"""The peer of `bench/run tokenizer`: what bench/tokenizer_bench.cc does, by the package `tokenizers` on one thread.

    python3 -m bench.peers.tokenizers_encode TOKENIZER_JSON DOCUMENTS REPETITIONS
"""

import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    seconds, encodings = [], tokenizer.encode_batch(documents)  # a warm-up
    for _ in range(int(sys.argv[3])):
        start = time.perf_counter()
        encodings = tokenizer.encode_batch(documents)
        seconds.append(time.perf_counter() - start)
    ids = numpy.concatenate([encoding.ids for encoding in encodings]).astype(numpy.uint64)
    places = numpy.arange(1, len(ids) + 1, dtype=numpy.uint64)
    print(json.dumps({"bytes": sum(len(text.encode()) for text in documents), "tokens": len(ids),
                      "checksum": int((ids * places).sum(dtype=numpy.uint64)), "seconds": seconds}))


if __name__ == "__main__":
    main()
