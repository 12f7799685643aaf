// api_fake_server [PORT]: the API over the fake engine, for the clients' tests. Prints "listening on URL" and serves
// until its standard input ends. Adapters are merged for the base model of tiny_adapters.h.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>

#include "base/log.h"
#include "serving/api/api_server.h"
#include "serving/api/testing/fake_engine.h"
#include "serving/api/testing/tiny_adapters.h"
#include "serving/api/testing/tiny_model.h"

int main(int argc, char** argv) {
  if (!graft::init_log().ok()) return 1;  // to stderr: nobody reads on what stdout holds
  using namespace graft::serving::api;    // NOLINT(google-build-using-namespace)
  const std::shared_ptr<const graft::text::Tokenizer> tokenizer = testing::tiny_tokenizer();
  const auto chat_template = testing::tiny_template();
  testing::FakeEngine engine(tokenizer, "hello the world, \xE2\x82\xAC 42! hello again.");
  ApiConfig config;
  config.model_id = "tiny";
  config.version = "test";
  config.adapter_sources.merge_folder = std::filesystem::temp_directory_path() / "graft-fake-server-merges";
  config.adapter_sources.base = testing::tiny_base();
  config.port = argc > 1 ? static_cast<uint16_t>(std::atoi(argv[1])) : uint16_t{0};
  const auto server = ApiServer::start(config, engine, *tokenizer, chat_template.get());
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  std::printf("listening on http://127.0.0.1:%d\n", server.value()->port());
  std::fflush(stdout);
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  return 0;
}
