#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto archive = graft::formats::ZipArchive::parse(std::as_bytes(std::span(data, size)));
  if (!archive.ok()) return 0;
  for (const graft::formats::ZipEntry& entry : archive->entries()) {
    (void)graft::formats::read_zip_entry(entry, uint64_t{1} << 20);
  }
  return 0;
}
