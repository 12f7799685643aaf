// libFuzzer: the bytes are a row of a dataset in JSON, of any shape that is understood by its columns: chats in both
// spellings with tools, pairs, documents. It becomes tokens by a template of ChatML's shape; what is supervised must
// lie within them, and something must be. A document's pieces must hold every token once.

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "recipe/row_encoder.h"
#include "recipe/row_reader.h"

namespace {

using nlohmann::ordered_json;

constexpr const char* kTemplate =
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

[[noreturn]] void give_up(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}

// Every byte is a token; the two marks are special.
std::unique_ptr<graft::text::Tokenizer> bytes() {
  ordered_json vocab = {{"<|im_start|>", 0}, {"<|im_end|>", 1}};
  ordered_json added = ordered_json::array();
  for (const auto& [token, id] : vocab.items())
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  for (int byte = 0; byte < 256; ++byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    vocab[std::string("<0x") + kDigits[static_cast<size_t>(byte) / 16] + kDigits[static_cast<size_t>(byte) % 16] +
          ">"] = byte + 2;
  }
  const ordered_json file = {
      {"added_tokens", added},
      {"decoder", {{"type", "ByteFallback"}}},
      {"model", {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", vocab}, {"merges", ordered_json::array()}}}};
  auto made = graft::text::Tokenizer::from_json(file.dump());
  if (!made.ok()) give_up(made.error().message);
  return std::move(*made);
}

struct Parts {
  std::unique_ptr<graft::text::Tokenizer> tokenizer = bytes();
  std::unique_ptr<graft::recipe::RowEncoder> encoder;
  graft::recipe::TrainingConfig config;
  Parts() {
    auto compiled = graft::text::ChatTemplate::compile(std::string(kTemplate));
    if (!compiled.ok()) give_up(compiled.error().message);
    const std::shared_ptr<const graft::text::ChatTemplate> chat = std::move(*compiled);
    auto made =
        graft::recipe::RowEncoder::create({tokenizer.get(), graft::recipe::chat_renderer(chat, {}), {1}}, false);
    if (!made.ok()) give_up(made.error().message);
    encoder = std::make_unique<graft::recipe::RowEncoder>(std::move(*made));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Parts parts;
  const std::string_view text(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  auto columns = graft::parse_ordered_json(text);
  if (!columns.ok() || !columns->is_object()) return 0;
  auto reader = graft::recipe::RowReader::create(parts.config);
  if (!reader.ok()) give_up(reader.error().message);
  const graft::formats::DatasetRow given = {.number = 1, .line = 1, .columns = std::move(*columns)};
  if (!reader->decide(given).ok()) return 0;
  const auto row = reader->read(given);
  if (!row.ok()) return 0;
  (void)parts.encoder->prompt(*row);
  const auto example = parts.encoder->encode(*row);
  if (!example.ok()) return 0;
  if (example->tokens.size() != example->supervised.size() || example->tokens.empty()) std::abort();
  const int64_t learned = graft::recipe::supervised_tokens(*example);
  if (learned == 0) std::abort();
  if (!row->document) return 0;
  int64_t in_pieces = 0;
  for (const auto& piece : graft::recipe::cut_document(*example, 7)) {
    if (piece.tokens.size() > 7) std::abort();
    in_pieces += graft::recipe::supervised_tokens(piece);
  }
  if (in_pieces != learned) std::abort();
  return 0;
}
