#include <CLI/CLI.hpp>
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/strings.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/model_text.h"
#include "text/tokenizer.h"

namespace graft::cli {
namespace {

struct Options {
  std::string model;
  std::string text;
  bool no_special_tokens = false;
  bool json = false;
};

nlohmann::ordered_json token_json(const text::Tokenizer& tokenizer, const std::string& text,
                                  const text::Encoding& encoding, size_t i) {
  const auto [begin, end] = encoding.offsets[i];
  const std::string piece = text.substr(begin, end - begin);
  return {
      {"id", encoding.ids[i]},
      {"token", tokenizer.id_to_token(encoding.ids[i])},
      {"text", is_valid_utf8(piece) ? nlohmann::ordered_json(piece) : nlohmann::ordered_json()},  // part of a character
      {"offsets", {begin, end}}};
}

Status tokenize(const Options& options, const std::string& text, std::ostream& out) {
  if (const auto bad = find_invalid_utf8(text))
    return invalid("the text is not valid UTF-8 at byte " + std::to_string(*bad));
  GRAFT_TRY(const ModelText model, load_model_text(options.model));
  auto tokenizer = text::Tokenizer::from_json(model.tokenizer_json);
  if (!tokenizer.ok()) return at("the tokenizer of " + options.model, tokenizer.error());
  const text::Encoding encoding = (*tokenizer)->encode(text, {.add_special_tokens = !options.no_special_tokens});
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (size_t i = 0; i < encoding.ids.size(); ++i) tokens.push_back(token_json(**tokenizer, text, encoding, i));
  if (options.json) {
    out << nlohmann::ordered_json{{"count", encoding.ids.size()}, {"ids", encoding.ids}, {"tokens", tokens}}.dump()
        << "\n";
    return {};
  }
  for (const auto& token : tokens) out << token["id"] << "\t" << token["token"].dump() << "\n";
  return {};
}

}  // namespace

int run_tokenize(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Shows the tokens of a text: a line per token with its id and its entry in the vocabulary.",
               "graft tokenize");
  Options options;
  app.add_option("--model", options.model, "an imported model, a Hugging Face directory or a .gguf file")->required();
  CLI::Option* text = app.add_option("TEXT", options.text, "the text; standard input where it is left out");
  app.add_flag("--no-special-tokens", options.no_special_tokens, "don't add the model's begin and end tokens");
  app.add_flag("--json", options.json, "print {count, ids, tokens: [{id, token, text, offsets}]}; offsets are bytes");
  return run_app(app, arguments, streams, [&]() -> Status {
    if (text->count() == 0) options.text.assign(std::istreambuf_iterator<char>(streams.in), {});
    return tokenize(options, options.text, streams.out);
  });
}

}  // namespace graft::cli
