#pragma once

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "serving/api/api_error.h"
#include "serving/engine.h"

namespace graft::serving::api {

// Which names mean the base model, which ones a folder of the adapter directory, and which ones have been served.
class AdapterCatalog {
 public:
  // `base_names`: the model's id first, then its aliases.
  AdapterCatalog(std::vector<std::string> base_names, std::string adapter_directory);

  [[nodiscard]] bool is_base(const std::string& id) const;  // "" and every name of the base model

  // What the engine is to be asked for. `source`: empty means local, the only one there is. Errors name `field`.
  [[nodiscard]] ApiResult<AdapterRef> resolve(const std::string& id, const std::string& source,
                                              const std::string& field) const;

  void note_served(const std::string& id);                  // remembers a bounded number of them
  [[nodiscard]] std::vector<std::string> adapters() const;  // sorted: those of the directory and those served
  [[nodiscard]] const std::string& base_id() const { return base_names_.front(); }
  [[nodiscard]] const std::vector<std::string>& base_names() const { return base_names_; }

 private:
  std::vector<std::string> base_names_;
  std::string directory_;
  mutable std::mutex mutex_;
  std::set<std::string> served_;
};

}  // namespace graft::serving::api
