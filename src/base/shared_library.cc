#include "base/shared_library.h"

#include <dlfcn.h>

namespace graft {

Result<void*> find_in_library(const std::string& library, const std::string& function) {
  const std::string file = "libgraft_" + library + ".so";
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // loaded once, then only counted
  if (handle == nullptr) {
    return unsupported("cannot load " + file + ", a part of graft: " + dlerror() +
                       "; install graft again, or run make build");
  }
  void* address = dlsym(handle, function.c_str());
  if (address == nullptr) {
    return unsupported(file + " belongs to another release of graft (no function " + function + "); run make build");
  }
  return address;
}

}  // namespace graft
