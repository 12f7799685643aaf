#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "base/log.h"
#include "engine/build_info.h"
#include "engine/engine_base_model.h"
#include "engine/import_command.h"
#include "engine/merge_command.h"
#include "engine/prompt_command.h"
#include "engine/serve_command.h"
#include "training/eval_command.h"
#include "training/predict_command.h"
#include "training/train_command.h"

namespace {

// glibc would give every large tensor back to the kernel and fault its pages in again at the next step.
void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

int run(int argc, char** argv) {
  if (const graft::Status status = graft::init_log(); !status.ok()) {
    fmt::print(stderr, "error: {}\n", status.error().message);
    return 2;
  }
  int code = 0;
  CLI::App app("graft-engine: the verbs of graft that need a model", "graft");
  app.set_version_flag("--version", graft::engine::build_description());
  app.require_subcommand(1);
  graft::engine::add_import_command(app, &code);
  graft::training::add_train_command(app, graft::engine::open_base_model, code);
  graft::training::add_eval_command(app, graft::engine::open_base_model, code);
  graft::training::add_predict_command(app, graft::engine::open_base_model, code);
  graft::engine::add_serve_command(app, &code);
  graft::engine::add_prompt_command(app, &code);
  graft::engine::add_merge_command(app, &code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    fmt::print(stderr, "error: {}; see --help\n", e.what());
    return 2;
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
