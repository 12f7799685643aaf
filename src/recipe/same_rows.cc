#include "recipe/same_rows.h"

#include <algorithm>
#include <span>
#include <unordered_map>

namespace graft::recipe {
namespace {

constexpr size_t kExamples = 5;

struct Row {
  uint64_t near = 0;
  uint64_t exact = 0;
  int64_t row = 0;
  Split split = Split::kTrain;
};

// Rows that were seen, of one near digest.
class Seen {
 public:
  void add(const Row& row) {
    if (first_ == 0) first_ = row.row;
    exact_.try_emplace(row.exact, row.row);
  }
  void compare(const Row& row, SameRows& same) const {
    if (first_ == 0) return;
    const auto exact = exact_.find(row.exact);
    ++(exact != exact_.end() ? same.exact : same.near);
    keep({row.row, exact != exact_.end() ? exact->second : first_}, same.examples);
  }

 private:
  // The first few by row, in whatever order they come.
  static void keep(const std::pair<int64_t, int64_t>& example, std::vector<std::pair<int64_t, int64_t>>& kept) {
    kept.insert(std::upper_bound(kept.begin(), kept.end(), example), example);
    if (kept.size() > kExamples) kept.pop_back();
  }

  int64_t first_ = 0;
  std::unordered_map<uint64_t, int64_t> exact_;
};

// `rows`: all those of one near digest, in the order of the file.
void compare_group(std::span<const Row> rows, FoundRows& found) {
  if (rows.size() < 2) return;
  Seen earlier;
  Seen trained;
  for (const Row& row : rows) {
    earlier.compare(row, found.duplicates);
    earlier.add(row);
    if (row.split == Split::kTrain) trained.add(row);
  }
  for (const Row& row : rows) {
    if (row.split != Split::kTrain) trained.compare(row, found.leaks);
  }
}

void compare_rows(std::vector<Row>& rows, FoundRows& found) {
  std::sort(rows.begin(), rows.end(),
            [](const Row& a, const Row& b) { return std::pair(a.near, a.row) < std::pair(b.near, b.row); });
  for (auto begin = rows.begin(); begin != rows.end();) {
    const auto end = std::find_if(begin, rows.end(), [&](const Row& row) { return row.near != begin->near; });
    compare_group({begin, end}, found);
    begin = end;
  }
}

}  // namespace

Result<FoundRows> find_same_rows(const PreparedData& data, int64_t rows_at_once) {
  FoundRows found;
  const auto passes = static_cast<uint64_t>((data.records() + rows_at_once - 1) / rows_at_once);
  std::vector<Row> rows;
  for (uint64_t pass = 0; pass < passes; ++pass) {
    rows.clear();
    GRAFT_CHECK_OK(data.each_record([&](const RowRecord& record) {
      if (record.near % passes == pass) rows.push_back({record.near, record.exact, record.row, record.split});
    }));
    compare_rows(rows, found);
  }
  return found;
}

}  // namespace graft::recipe
