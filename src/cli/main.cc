#include <iostream>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/engine_process.h"

int main(int argc, char** argv) {
  if (const graft::Status status = graft::init_log(); !status.ok()) {
    std::cerr << "graft: " << status.error().message << "\n";
    return graft::cli::kWrongUse;
  }
  graft::cli::Streams streams{std::cin, std::cout, std::cerr};
  return graft::cli::run(std::vector<std::string>(argv + 1, argv + argc), streams, graft::cli::exec_engine);
}
