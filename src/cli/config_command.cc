#include <CLI/CLI.hpp>
#include <ostream>

#include "cli/command.h"
#include "recipe/config_text.h"

namespace graft::cli {

int run_config(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Shows training configs.", "graft config");
  app.require_subcommand(1);
  std::string path;
  std::vector<std::string> overrides;
  bool markdown = false;
  CLI::App* show = app.add_subcommand("show", "prints a config with every key resolved");
  show->add_option("FILE", path, "the YAML file")->required();
  show->add_option("--set", overrides, "KEY=VALUE, over the file's; may be repeated")->allow_extra_args(false);
  CLI::App* schema = app.add_subcommand("schema", "prints the JSON Schema of the config file");
  schema->add_flag("--markdown", markdown, "print the reference of all keys instead");
  return run_app(app, arguments, streams, [&]() -> Status {
    if (schema->parsed()) {
      streams.out << (markdown ? recipe::config_schema_markdown() : recipe::config_schema_json() + "\n");
      return {};
    }
    GRAFT_TRY(const std::string text, recipe::config_show(path, overrides));
    streams.out << text;
    return {};
  });
}

}  // namespace graft::cli
