#pragma once

#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "serving/api/api_error.h"
#include "serving/engine.h"

namespace graft::serving::api {

// How adapters are asked for where a request leaves something open, and what may not be asked for.
struct CatalogSettings {
  std::string default_source = "local";  // local, hub or s3
  std::string default_adapter;           // of requests that name none; empty: the base model
  // Folders that hold adapters for those only who may have them: no request may name a path in there.
  std::vector<std::filesystem::path> private_folders;
};

// The name of an adapter in answers and metrics; empty for the base model.
struct AdapterLabel {
  std::string id;
  std::string source;
};

// Which names mean the base model, which ones a folder of the adapter directory, and which ones have been served.
class AdapterCatalog {
 public:
  // `base_names`: the model's id first, then its aliases.
  AdapterCatalog(std::vector<std::string> base_names, std::string adapter_directory, CatalogSettings settings = {});

  // "" (where there is no default adapter) and every name of the base model.
  [[nodiscard]] bool is_base(const std::string& id) const;
  [[nodiscard]] AdapterLabel label(const std::string& id, const std::string& source) const;

  // The adapter that a request means, its source, and the token to ask there with, all of them checked. Sources: local
  // (a path, or a name in the adapter directory), hub ("org/name[@revision]"), s3 (a URI of any object store; a plain
  // "bucket/prefix" is on S3); empty: what the id's form says, else the default. Errors name `field`.
  [[nodiscard]] ApiResult<AdapterRef> resolve(const std::string& id, const std::string& source,
                                              const std::string& field, const std::string& token = {}) const;

  void note_served(const std::string& id);                  // remembers a bounded number of them
  [[nodiscard]] std::vector<std::string> adapters() const;  // sorted: those of the directory and those served
  [[nodiscard]] const std::string& base_id() const { return base_names_.front(); }
  [[nodiscard]] const std::vector<std::string>& base_names() const { return base_names_; }

 private:
  [[nodiscard]] ApiResult<AdapterRef> local(const std::string& id, const std::string& field) const;

  std::vector<std::string> base_names_;
  std::string directory_;
  CatalogSettings settings_;
  mutable std::mutex mutex_;
  std::set<std::string> served_;
};

}  // namespace graft::serving::api
