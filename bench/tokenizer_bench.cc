// tokenizer_bench TOKENIZER_JSON DOCUMENTS REPETITIONS: tokenises every document on one thread, so many times, and
// prints
// {"bytes", "tokens", "checksum", "seconds": [one for each repetition]}. DOCUMENTS holds a JSON string a line.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace {

using graft::text::Tokenizer;

std::vector<std::string> read_documents(const char* path) {
  std::vector<std::string> documents;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) documents.push_back(nlohmann::json::parse(line));
  return documents;
}

struct Pass {
  double seconds = 0;
  uint64_t tokens = 0;
  uint64_t checksum = 0;  // the sum of (place + 1) * id, modulo 2^64
};

Pass tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& documents) {
  Pass pass;
  std::vector<std::vector<int32_t>> ids;
  ids.reserve(documents.size());
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& document : documents) ids.push_back(tokenizer.encode(document).ids);
  pass.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const auto& of_one : ids) {
    for (const int32_t id : of_one) pass.checksum += ++pass.tokens * static_cast<uint64_t>(id);
  }
  return pass;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: tokenizer_bench TOKENIZER_JSON DOCUMENTS REPETITIONS\n";
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const auto tokenizer = Tokenizer::from_json(std::string(std::istreambuf_iterator<char>(file), {}));
  if (!tokenizer.ok()) {
    std::cerr << argv[1] << ": " << tokenizer.error().message << "\n";
    return 1;
  }
  const std::vector<std::string> documents = read_documents(argv[2]);
  size_t bytes = 0;
  for (const std::string& document : documents) bytes += document.size();
  Pass pass = tokenize(**tokenizer, documents);  // a warm-up
  std::vector<double> seconds;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    pass = tokenize(**tokenizer, documents);
    seconds.push_back(pass.seconds);
  }
  std::cout << nlohmann::json{{"bytes", bytes},
                              {"tokens", pass.tokens},
                              {"checksum", pass.checksum},
                              {"seconds", seconds}}
            << "\n";
  return 0;
}
