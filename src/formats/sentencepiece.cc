#include "formats/sentencepiece.h"

#include <bit>
#include <optional>

#include "base/strings.h"
#include "base/utf8.h"

namespace graft::formats {
namespace {

using Piece = SentencePieceModel::Piece;
using PieceType = SentencePieceModel::PieceType;

// One field of a protobuf message (https://protobuf.dev/programming-guides/encoding).
struct Field {
  enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint64_t number = 0;
  Wire wire = Wire::kVarint;
  uint64_t value = 0;      // of a varint or a fixed number
  std::string_view bytes;  // of a string or a message
  size_t offset = 0;       // of its contents, in the file
};

// Goes through the fields of a message that starts at `offset` of the file.
class Message {
 public:
  Message(std::string_view bytes, size_t offset) : bytes_(bytes), offset_(offset) {}
  [[nodiscard]] bool done() const { return position_ == bytes_.size(); }
  Result<Field> next();

 private:
  [[nodiscard]] Error wrong(const std::string& what) const {
    return invalid("byte " + std::to_string(offset_ + position_) + ": " + what);
  }
  Result<uint64_t> varint();
  Result<uint64_t> fixed(size_t size);
  std::string_view bytes_;
  size_t offset_;
  size_t position_ = 0;
};

Result<uint64_t> Message::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && position_ < bytes_.size(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes_[position_++]);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return wrong("a number is cut off or too long");
}

Result<uint64_t> Message::fixed(size_t size) {
  if (bytes_.size() - position_ < size) return wrong("a number is cut off");
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes_[position_ + i]);
  position_ += size;
  return value;
}

Result<Field> Message::next() {
  Field field;
  GRAFT_TRY(const uint64_t tag, varint());
  field.number = tag >> 3;
  if (field.number == 0) return wrong("a field has number 0");
  switch (tag & 7) {
    case 0: {
      GRAFT_TRY(field.value, varint());
      return field;
    }
    case 1:
    case 5: {
      const bool is_long = (tag & 7) == 1;
      field.wire = is_long ? Field::Wire::kFixed64 : Field::Wire::kFixed32;
      GRAFT_TRY(field.value, fixed(is_long ? 8 : 4));
      return field;
    }
    case 2: {
      field.wire = Field::Wire::kBytes;
      GRAFT_TRY(const uint64_t size, varint());
      if (size > bytes_.size() - position_) return wrong("a field is longer than what is left of the message");
      field.offset = offset_ + position_;
      field.bytes = bytes_.substr(position_, size);
      position_ += size;
      return field;
    }
    default:
      return wrong("unknown wire type " + std::to_string(tag & 7));
  }
}

// Calls `read(field)` for every field of the message.
template <class Read>
Status each_field(std::string_view bytes, size_t offset, Read read) {
  Message message(bytes, offset);
  while (!message.done()) {
    GRAFT_TRY(const Field field, message.next());
    GRAFT_CHECK_OK(read(field));
  }
  return {};
}

Error wrong_kind(const char* name) { return invalid(std::string(name) + " is of the wrong kind"); }

Status read_bool(const Field& field, const char* name, bool* out) {
  if (field.wire != Field::Wire::kVarint) return wrong_kind(name);
  *out = field.value != 0;
  return {};
}

Status read_id(const Field& field, const char* name, int64_t* out) {
  if (field.wire != Field::Wire::kVarint) return wrong_kind(name);
  *out = static_cast<int32_t>(static_cast<uint32_t>(field.value));
  return {};
}

// message SentencePiece { string piece = 1; float score = 2; Type type = 3; }
Result<Piece> read_piece(const Field& message, size_t id) {
  constexpr uint64_t kLastType = 6;
  Piece piece;
  const std::string place = "piece " + std::to_string(id);
  GRAFT_CHECK_OK(each_field(message.bytes, message.offset, [&](const Field& field) -> Status {
    if (field.number == 1) {
      if (field.wire != Field::Wire::kBytes) return wrong_kind("a piece's text");
      piece.text = field.bytes;
    } else if (field.number == 2) {
      if (field.wire != Field::Wire::kFixed32) return wrong_kind("a piece's score");
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    } else if (field.number == 3) {
      if (field.wire != Field::Wire::kVarint) return wrong_kind("a piece's type");
      if (field.value == 0 || field.value > kLastType) return invalid(place + ": unknown type");
      piece.type = static_cast<PieceType>(field.value);
    }
    return {};
  }));
  if (!is_valid_utf8(piece.text)) return invalid(place + ": not valid UTF-8");
  return piece;
}

Status read_trainer_spec(const Field& message, SentencePieceModel& model) {
  return each_field(message.bytes, message.offset, [&](const Field& field) -> Status {
    bool as_suffix = false;
    switch (field.number) {
      case 3:
        if (field.wire != Field::Wire::kVarint) return wrong_kind("trainer_spec.model_type");
        if (field.value != 1 && field.value != 2) {
          return unsupported("trainer_spec.model_type " + std::to_string(field.value) +
                             " is not supported; supported: 1 (Unigram), 2 (BPE)");
        }
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
        return {};
      case 24:
        GRAFT_CHECK_OK(read_bool(field, "trainer_spec.treat_whitespace_as_suffix", &as_suffix));
        if (as_suffix) return unsupported("trainer_spec.treat_whitespace_as_suffix is not supported");
        return {};
      case 35:
        return read_bool(field, "trainer_spec.byte_fallback", &model.byte_fallback);
      case 40:
        return read_id(field, "trainer_spec.unk_id", &model.unk_id);
      case 41:
        return read_id(field, "trainer_spec.bos_id", &model.bos_id);
      case 42:
        return read_id(field, "trainer_spec.eos_id", &model.eos_id);
      default:
        return {};
    }
  });
}

Status read_normalizer_spec(const Field& message, SentencePieceModel& model) {
  return each_field(message.bytes, message.offset, [&](const Field& field) -> Status {
    switch (field.number) {
      case 2:
        if (field.wire != Field::Wire::kBytes) return wrong_kind("normalizer_spec.precompiled_charsmap");
        model.charsmap = field.bytes;
        return {};
      case 3:
        return read_bool(field, "normalizer_spec.add_dummy_prefix", &model.add_dummy_prefix);
      case 4:
        return read_bool(field, "normalizer_spec.remove_extra_whitespaces", &model.remove_extra_whitespaces);
      case 5:
        return read_bool(field, "normalizer_spec.escape_whitespaces", &model.escape_whitespaces);
      default:
        return {};
    }
  });
}

}  // namespace

Result<SentencePieceModel> parse_sentencepiece(std::string_view bytes) {
  SentencePieceModel model;
  GRAFT_CHECK_OK(each_field(bytes, 0, [&](const Field& field) -> Status {
    if (field.number > 3) return {};
    if (field.wire != Field::Wire::kBytes) return wrong_kind("a part of the model");
    if (field.number == 2) return read_trainer_spec(field, model);
    if (field.number == 3) return read_normalizer_spec(field, model);
    GRAFT_TRY(Piece piece, read_piece(field, model.pieces.size()));
    model.pieces.push_back(std::move(piece));
    return {};
  }));
  if (model.pieces.empty()) return invalid("there are no pieces: not a SentencePiece model");
  return model;
}

}  // namespace graft::formats
