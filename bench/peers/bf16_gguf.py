"""Writes SmolLM2-135M-Instruct as a GGUF file whose matrices are bfloat16 (or another kind), for llama.cpp; independent
of graft.

    python3 -m bench.peers.bf16_gguf FILE
"""

import os
import pathlib
import sys

import gguf

from tests.support import smollm2


BF16 = gguf.GGMLQuantizationType.BF16
FILE_TYPES = {BF16: gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.F32: gguf.LlamaFileType.ALL_F32}


def copy_metadata(reader, writer, kind):
    skipped = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
    for key, field in reader.fields.items():
        if key.startswith(skipped):
            continue
        element = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], element)
    writer.add_file_type(FILE_TYPES[kind])


def write(target: pathlib.Path, kind=BF16):
    reader = smollm2.open_gguf()
    scratch = target.with_suffix(".part")
    writer = gguf.GGUFWriter(scratch, smollm2.metadata(reader, "general.architecture"))
    copy_metadata(reader, writer, kind)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim == 1:  # norms stay float32, as llama.cpp's own converter leaves them
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(scratch, target)


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
