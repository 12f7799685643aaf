#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/test_directory.h"

namespace graft {

// For tests whose oracle is a Python package: runs the script with the project's environment, offline, and returns
// what it printed, or "exit STATUS: OUTPUT" where it failed.
inline std::string run_python(const std::string& script, const std::vector<std::string>& arguments = {}) {
  TestDirectory directory;
  std::ofstream(directory / "script.py") << script;
  std::string command = "HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore '" GRAFT_PYTHON "' '" +
                        (directory / "script.py").string() + "'";
  for (const std::string& argument : arguments) {
    command += " '";
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  const std::string output = (directory / "output").string();
  const int status = std::system((command + " > '" + output + "' 2>&1").c_str());
  std::ifstream stream(output);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return status == 0 ? text : "exit " + std::to_string(status) + ": " + text;
}

}  // namespace graft
