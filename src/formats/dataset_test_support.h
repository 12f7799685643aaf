#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "formats/dataset.h"

namespace graft::formats {

struct ReadRows {
  std::vector<nlohmann::ordered_json> rows;
  std::string error;  // what ended them; empty: the end of the file
  std::vector<int64_t> lines;
};

inline ReadRows read_rows(const std::filesystem::path& path, const DatasetOptions& options = {}) {
  ReadRows out;
  auto reader = DatasetReader::open(path, options);
  if (!reader.ok()) {
    out.error = reader.error().message;
    return out;
  }
  while (true) {
    auto row = (*reader)->next();
    if (!row.ok()) out.error = row.error().message;
    if (!row.ok() || !row->has_value()) return out;
    EXPECT_EQ((*row)->number, static_cast<int64_t>(out.rows.size()) + 1);
    out.lines.push_back((*row)->line);
    out.rows.push_back(std::move((*row)->columns));
  }
}

// What an oracle printed: a JSON object a line.
inline std::vector<nlohmann::ordered_json> rows_of_lines(const std::string& text) {
  std::vector<nlohmann::ordered_json> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    auto row = parse_ordered_json(std::string_view(text).substr(begin, end - begin));
    EXPECT_TRUE(row.ok()) << text.substr(begin, end - begin);
    rows.push_back(row.ok() ? std::move(*row) : nlohmann::ordered_json());
    begin = end + 1;
  }
  return rows;
}

inline void expect_same_rows(const ReadRows& got, const std::string& expected_lines) {
  EXPECT_EQ(got.error, "");
  const auto expected = rows_of_lines(expected_lines);
  ASSERT_EQ(got.rows.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(got.rows[i], expected[i]) << "row " << i + 1;
}

}  // namespace graft::formats
