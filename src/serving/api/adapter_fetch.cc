#include "serving/api/adapter_fetch.h"

#include <utility>

#include "base/strings.h"
#include "storage/hub_adapter.h"
#include "storage/object_adapter.h"

namespace graft::serving::api {
namespace {

Result<std::string> from_hub(const AdapterRef& ref, storage::HubSettings hub, int64_t max_bytes) {
  GRAFT_TRY(const auto model, storage::parse_hub_model(ref.id));
  if (!model) return invalid("'" + printable(ref.id) + "' is no name of an adapter on a hub; give org/name");
  if (!ref.api_token.empty()) hub.token = ref.api_token;
  GRAFT_TRY(const auto directory, storage::fetch_hub_adapter(*model, hub, max_bytes));
  return directory.string();
}

}  // namespace

RemoteAdapters::Fetch make_adapter_fetch(AdapterFetchSettings settings) {
  return [settings = std::move(settings)](const AdapterRef& ref) -> Result<std::string> {
    if (ref.source == "hub") return from_hub(ref, settings.hub, settings.max_file_bytes);
    if (ref.source != "s3") return unsupported("adapters cannot be fetched from '" + printable(ref.source) + "'");
    GRAFT_TRY(const auto directory,
              storage::fetch_object_adapter(ref.id, settings.object_cache, settings.max_file_bytes));
    return directory.string();
  };
}

}  // namespace graft::serving::api
