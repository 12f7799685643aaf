#include "formats/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

constexpr uint64_t kLimit = uint64_t{1} << 24;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// An archive written by Python's zipfile: `body` fills `z`, which writes to `out`.
std::string archive(const std::string& body) {
  TestDirectory dir;
  EXPECT_EQ(run_python("import sys, zipfile, io, random\nrandom.seed(1)\nout = open(sys.argv[1], 'wb')\n"
                       "noise = bytes(random.randrange(256) for _ in range(5000))\n"
                       "z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED)\n" +
                           body + "\nz.close(); out.close()",
                       {dir / "a.zip"}),
            "");
  return read_file(dir / "a.zip").value();
}

const char* kSeveral = R"(
z.writestr("empty", b"")
z.writestr("dir/text", b"abc" * 1000)
z.writestr("stored", noise, zipfile.ZIP_STORED)
z.mkdir("folder")
z.writestr("noise", noise)
with z.open("large", "w", force_zip64=True) as f: f.write(b"\0" * 100000)
z.comment = b"a comment PK\x05\x06 with a signature in it"
)";

std::string content(const ZipArchive& archive, const char* name) {
  const ZipEntry* entry = archive.find(name);
  if (entry == nullptr) return "none";
  const auto read = read_zip_entry(*entry, kLimit);
  return read.ok() ? *read : read.error().message;
}

TEST(Zip, ReadsWhatPythonsZipfileWrites) {
  const std::string file = archive(kSeveral);
  const auto zip = ZipArchive::parse(bytes_of(file));
  ASSERT_TRUE(zip.ok()) << zip.error().message;
  ASSERT_EQ(zip->entries().size(), 5U);
  EXPECT_EQ(zip->find("folder/"), nullptr);
  EXPECT_EQ(content(*zip, "empty"), "");
  EXPECT_EQ(content(*zip, "dir/text").substr(2997), "abc");
  EXPECT_EQ(content(*zip, "stored"), content(*zip, "noise"));
  EXPECT_EQ(content(*zip, "stored").size(), 5000U);
  EXPECT_EQ(content(*zip, "large"), std::string(100000, '\0'));
  EXPECT_TRUE(zip->find("stored")->stored());
  EXPECT_EQ(zip->find("stored")->data.size(), 5000U);
  EXPECT_FALSE(zip->find("noise")->stored());
  EXPECT_THAT(read_zip_entry(*zip->find("large"), 99999).error().message, HasSubstr("more than the limit"));
}

TEST(Zip, SizesBehindTheDataAndZip64RecordsAreUnderstood) {
  // A stream that cannot seek makes zipfile write sizes after the data; many entries make it write ZIP64 end records.
  const std::string unseekable = archive(R"(
class Pipe(io.RawIOBase):
    def __init__(self, f): self.f = f
    def write(self, b): return self.f.write(b)
    def writable(self): return True
    def seekable(self): return False
    def flush(self): self.f.flush()
z.close(); out.seek(0); out.truncate()
z = zipfile.ZipFile(Pipe(out), "w", zipfile.ZIP_DEFLATED)
z.writestr("a", b"abc" * 100); z.writestr("b", noise, zipfile.ZIP_STORED)
)");
  const auto zip = ZipArchive::parse(bytes_of(unseekable));
  ASSERT_TRUE(zip.ok()) << zip.error().message;
  EXPECT_EQ(content(*zip, "a").size(), 300U);
  EXPECT_EQ(content(*zip, "b").size(), 5000U);
  const std::string many = archive("for i in range(66000): z.writestr(zipfile.ZipInfo(str(i)), str(i))");
  const auto large = ZipArchive::parse(bytes_of(many));
  ASSERT_TRUE(large.ok()) << large.error().message;
  EXPECT_EQ(large->entries().size(), 66000U);
  EXPECT_EQ(content(*large, "65999"), "65999");
}

TEST(Zip, ReadsInPiecesOfAnySize) {
  const std::string file = archive(kSeveral);
  const auto zip = ZipArchive::parse(bytes_of(file)).value();
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{200000}}) {
    for (const ZipEntry& entry : zip.entries()) {
      auto reader = ZipEntryReader::open(entry).value();
      std::string whole;
      std::vector<std::byte> buffer(piece);
      while (true) {
        const size_t got = reader.read(buffer).value();
        if (got == 0) break;
        whole.append(reinterpret_cast<const char*>(buffer.data()), got);
      }
      EXPECT_EQ(whole, read_zip_entry(entry, kLimit).value()) << entry.name << " by " << piece;
    }
  }
}

TEST(Zip, WhatItCannotReadIsRefusedByName) {
  std::string file = archive("z.writestr('b', b'x' * 100, zipfile.ZIP_BZIP2)");
  EXPECT_THAT(content(ZipArchive::parse(bytes_of(file)).value(), "b"), HasSubstr("compression method 12"));
  file = archive("import warnings; warnings.simplefilter('ignore')\nz.writestr('a', b'1'); z.writestr('a', b'2')");
  EXPECT_THAT(ZipArchive::parse(bytes_of(file)).error().message, HasSubstr("'a' is in the zip archive twice"));
  file = archive("z.writestr('secret', b'1')");
  const size_t record = file.rfind("PK\x01\x02");
  std::string changed = file;
  changed[record + 8] = 1;
  EXPECT_THAT(ZipArchive::parse(bytes_of(changed)).error().message, HasSubstr("'secret' in the zip archive is encryp"));
  changed = file;
  changed[record + 16] = static_cast<char>(changed[record + 16] ^ 1);
  EXPECT_THAT(content(ZipArchive::parse(bytes_of(changed)).value(), "secret"), HasSubstr("checksum is wrong"));
  changed = file;
  changed[record + 26] = 1;  // a size of 65537 that 3 bytes cannot hold
  EXPECT_THAT(ZipArchive::parse(bytes_of(changed)).error().message, HasSubstr("more than its data can hold"));
  EXPECT_THAT(ZipArchive::parse(bytes_of("PK")).error().message, HasSubstr("not a zip archive"));
  EXPECT_THAT(ZipArchive::parse(bytes_of(file + "x")).error().message, HasSubstr("not a zip archive"));
}

TEST(Zip, EntriesThatShareBytesAreRefused) {
  std::string file =
      archive("z.writestr('a', b'1' * 50, zipfile.ZIP_STORED); z.writestr('b', b'2', zipfile.ZIP_STORED)");
  // The second record, named as the first and pointed at its header.
  const size_t second = file.rfind("PK\x01\x02");
  file[second + 46] = 'a';
  std::memset(file.data() + second + 42, 0, 4);
  EXPECT_THAT(ZipArchive::parse(bytes_of(file)).error().message, HasSubstr("overlap"));
}

TEST(Zip, AnyCutAndAnyChangeIsAnErrorOrTheContent) {
  const std::string file = archive("z.writestr('a', b'abc' * 20); z.writestr('s', b'12345', zipfile.ZIP_STORED)");
  for (size_t end = 0; end < file.size(); ++end) {
    EXPECT_FALSE(ZipArchive::parse(bytes_of(file.substr(0, end))).ok()) << end;
  }
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string changed = file;
    for (int j = 0; j < 1 + i % 3; ++j) changed[random() % changed.size()] = static_cast<char>(random());
    const auto zip = ZipArchive::parse(bytes_of(changed));
    if (!zip.ok()) continue;
    for (const ZipEntry& entry : zip->entries()) (void)read_zip_entry(entry, kLimit);
  }
}

}  // namespace
}  // namespace graft::formats
