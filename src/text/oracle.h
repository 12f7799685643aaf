#pragma once

// For tests: expectations come from the Python packages that graft must agree with, asked at test time.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/test_directory.h"

namespace graft::text::testing {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs `python3 -m MODULE NAME FOLDER` from the top of the checkout. A script that fails, for example because a package
// is missing, fails the test.
inline void run_oracle(const std::string& module, const std::string& name, const std::filesystem::path& folder) {
  const std::string command =
      "cd '" GRAFT_SOURCE_DIR "' && '" GRAFT_PYTHON "' -m " + module + " " + name + " '" + folder.string() + "' 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  ASSERT_EQ(pclose(pipe), 0) << command << "\n" << output;
}

inline std::vector<nlohmann::ordered_json> read_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::ordered_json> lines;
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::ordered_json::parse(line));
  EXPECT_FALSE(lines.empty()) << path;
  return lines;
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(static_cast<unsigned char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

}  // namespace graft::text::testing
