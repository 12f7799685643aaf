#include "recipe/encode_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/digest.h"
#include "base/philox.h"
#include "base/strings.h"
#include "recipe/random_streams.h"

namespace graft::recipe {
namespace {

bool sampled_out(uint64_t seed, int64_t row, double ratio) {
  if (ratio >= 1.0) return false;
  return PhiloxStream(seed, random_stream(RandomUse::kSample, static_cast<uint64_t>(row))).next_double() >= ratio;
}

// Case folded (ASCII), runs of white space one space, none at the ends.
std::string folded(const std::string& text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v') {
      if (!result.empty() && result.back() != ' ') result += ' ';
    } else {
      result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

uint64_t digest_of(const std::vector<std::string>& parts) {
  Sha256 digest;
  for (const std::string& part : parts) {
    digest.update(std::to_string(part.size()) + ":");
    digest.update(part);
  }
  return std::stoull(digest.hex().substr(0, 16), nullptr, 16);
}

// The texts that a row is made of.
std::vector<std::string> parts_of(const RowText& text) {
  if (text.document) return {*text.document};
  if (!text.is_chat()) return {text.prompt, text.completion};
  std::vector<std::string> parts;
  for (const auto& message : text.messages) {
    for (const auto& [key, value] : message.items()) {
      parts.push_back(key);
      parts.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  if (!text.tools.is_null()) parts.push_back(text.tools.dump());
  return parts;
}

void set_digests(const RowText& text, RowRecord& record) {
  std::vector<std::string> parts = parts_of(text);
  record.exact = digest_of(parts);
  for (std::string& part : parts) part = folded(part);
  record.near = digest_of(parts);
}

// Where rows say themselves where they belong, as far as the first one shows.
bool says_its_split(const formats::DatasetRow& first, const std::string& column) {
  const auto cell = first.columns.find(column);
  if (cell == first.columns.end()) return false;
  const auto text = column_text(first, column);
  return text.ok() && split_named(*text).has_value();
}

}  // namespace

RowPipeline::RowPipeline(const TrainingConfig& config, const RowEncoder& encoder, RowReader reader, int64_t limit)
    : config_(config),
      encoder_(encoder),
      reader_(std::move(reader)),
      limit_(limit),
      seed_(static_cast<uint64_t>(config.random_seed)),
      split_type_(config.preprocessing.split.type) {}

Result<RowPipeline> RowPipeline::create(const TrainingConfig& config, const RowEncoder& encoder, int64_t context,
                                        const formats::DatasetRow& first) {
  GRAFT_TRY(RowReader reader, RowReader::create(config));
  GRAFT_CHECK_OK(reader.decide(first));
  RowPipeline pipeline(config, encoder, std::move(reader), longest_row(config, context));
  if (pipeline.shape() == RowShape::kText && pipeline.limit_ < 2) {
    return invalid("preprocessing.global_max_sequence_length: must be at least 2 for documents");
  }
  if (pipeline.split_type_ == "auto") {
    pipeline.split_type_ = says_its_split(first, config.preprocessing.split.column) ? "fixed" : "random";
  }
  return pipeline;
}

EncodedRow RowPipeline::encode(const formats::DatasetRow& row) const {
  EncodedRow encoded;
  encoded.record.row = row.number;
  if (sampled_out(seed_, row.number, config_.preprocessing.sample_ratio)) {
    encoded.state = EncodedRow::State::kSampledOut;
    return encoded;
  }
  if (Status filled = fill(row, encoded); !filled.ok()) {
    if (encoded.state != EncodedRow::State::kRefused) encoded.state = EncodedRow::State::kInvalid;
    encoded.error = filled.error();
  }
  return encoded;
}

Status RowPipeline::fill(const formats::DatasetRow& row, EncodedRow& encoded) const {
  GRAFT_TRY(encoded.text, reader_.read(row));
  GRAFT_TRY(encoded.record.split, split_of(row));
  if (stratifies()) {
    GRAFT_TRY(encoded.group, column_text(row, config_.preprocessing.split.column));
  }
  GRAFT_TRY(Example example, encoder_.encode(encoded.text));
  set_digests(encoded.text, encoded.record);
  encoded.record.tokens = static_cast<int64_t>(example.tokens.size());
  return shorten(std::move(example), encoded);
}

Result<Split> RowPipeline::split_of(const formats::DatasetRow& row) const {
  const SplitConfig& split = config_.preprocessing.split;
  if (stratifies()) return Split::kTrain;  // until all labels are known
  if (split_type_ == "random") return random_split(seed_, row.number, split.probabilities);
  GRAFT_TRY(const std::string value, column_text(row, split.column));
  if (const auto named = split_named(value)) return *named;
  const char* otherwise = split.type == "auto" ? "; or set preprocessing.split.type: random" : "";
  return invalid(
      fmt::format("row {}: column '{}' is '{}': expected 0 or train, 1 or validation (evaluation), 2 or test{}",
                  row.number, printable(split.column, 60), printable(value, 40), otherwise));
}

Status RowPipeline::shorten(Example example, EncodedRow& encoded) const {
  const auto length = static_cast<int64_t>(example.tokens.size());
  const std::string& policy = config_.preprocessing.overlong_rows;
  if (length > limit_ && policy == "refuse") {
    encoded.state = EncodedRow::State::kRefused;
    return invalid(
        fmt::format("row {}: {} tokens, {} are allowed; shorten it, or set preprocessing.overlong_rows to "
                    "truncate or drop",
                    example.row, length, limit_));
  }
  if (length > limit_ && policy == "drop") {
    encoded.state = EncodedRow::State::kTooLong;
    return {};
  }
  encoded.record.shortened = length > limit_;
  if (encoded.text.document) {
    encoded.pieces = cut_document(std::move(example), limit_);
    return {};
  }
  truncate(example, limit_, encoder_.tokenizer());
  if (!encoded.text.is_labelled && supervised_tokens(example) == 0) {
    return invalid(fmt::format("row {}: no token carries loss after shortening to {} tokens", example.row, limit_));
  }
  encoded.pieces.push_back(std::move(example));
  return {};
}

}  // namespace graft::recipe
