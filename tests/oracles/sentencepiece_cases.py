"""SentencePiece models and what the package `sentencepiece` makes of text, for src/formats and src/text."""


def proto_of(data):
    """A tokenizer.model taken apart by Google's own protobuf classes."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data)
    return proto
