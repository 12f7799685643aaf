#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace graft::recipe {

// Scores between 0 and 1 of an answer against the right one.

// 1 where both are the same once normalised (scoring.h).
double exact_match(std::string_view reference, std::string_view answer);

// SQuAD's F1 over tokens: lower case, without ASCII punctuation and the articles a, an, the; cut at white space.
double token_f1(std::string_view reference, std::string_view answer);

// The F-measure of ROUGE-L (Lin 2004) as the package rouge_score computes it without its stemmer: over the longest
// common subsequence of runs of a-z and 0-9, lower case.
double rouge_l(std::string_view reference, std::string_view answer);

// 1 where the answer, white space around it aside, is one JSON value (RFC 8259). The reference does not matter.
double json_validity(std::string_view reference, std::string_view answer);

std::span<const std::string> text_metric_names();  // exact_match, token_f1, rouge_l, json_validity
using TextMetric = double (*)(std::string_view reference, std::string_view answer);
TextMetric text_metric(std::string_view name);  // null where there is none of this name

}  // namespace graft::recipe
