// Encodings, packing and dialects of text files, with Python's csv, json, gzip and codecs as oracles.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dataset_test_support.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

class TextFiles : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, std::string_view bytes) {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    return dir_ / name;
  }
  std::string error_of(const std::string& name, std::string_view bytes) { return read_rows(write(name, bytes)).error; }

  TestDirectory dir_;
};

std::string zstd(std::string_view text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

TEST_F(TextFiles, EveryEncodingAndPackingGivesTheSameRows) {
  const std::string expected = run_python(R"(
import codecs, gzip, json, sys
folder = sys.argv[1]
rows = [{"text": "näïve 😀 \u4e2d", "n": str(i)} for i in range(3)] + [{"text": 'quote " comma, line\nbreak', "n": ""}]
lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
def quoted(c): return '"' + c.replace('"', '""') + '"'
csv = "text,n\r\n" + "".join(quoted(r["text"]) + "," + r["n"] + "\r\n" for r in rows)
for name, mark, codec in [("plain", b"", "utf-8"), ("bom", codecs.BOM_UTF8, "utf-8"),
                          ("le", codecs.BOM_UTF16_LE, "utf-16-le"), ("be", codecs.BOM_UTF16_BE, "utf-16-be")]:
    for kind, text in [("jsonl", lines), ("csv", csv), ("json", json.dumps(rows)), ("tsv", csv.replace(",", "\t", 1).replace('",', '"\t'))]:
        data = mark + text.encode(codec)
        open(f"{folder}/{name}.{kind}", "wb").write(data)
        open(f"{folder}/{name}.{kind}.gz", "wb").write(gzip.compress(data[:40]) + gzip.compress(data[40:]))
print("\n".join(json.dumps(r) for r in rows))
)",
                                          {dir_.path().string()});
  for (const std::string name : {"plain", "bom", "le", "be"}) {
    for (const std::string kind : {"jsonl", "csv", "json", "tsv"}) {
      SCOPED_TRACE(name + "." + kind);
      const auto path = dir_ / (name + "." + kind);
      expect_same_rows(read_rows(path), expected);
      expect_same_rows(read_rows(path.string() + ".gz"), expected);
      const std::string bytes = read_file(path).value();
      write("packed." + kind + ".zst", zstd(bytes.substr(0, 40)) + zstd(bytes.substr(40)));
      expect_same_rows(read_rows(dir_ / ("packed." + kind + ".zst")), expected);
    }
  }
}

// Python's csv module writes a thousand nasty records; both must read them alike.
TEST_F(TextFiles, CsvAgreesWithPython) {
  const std::string expected = run_python(R"(
import csv, json, random, sys
random.seed(5)
pieces = ["a", '"', ",", "\n", "\r\n", "\t", " ", "é", "😀", "'", ";", "\\", "x" * 40, "0"]
def cell(): return "".join(random.choice(pieces) for _ in range(random.randint(0, 5)))
def record():
    cells = [cell() for _ in range(3)]
    return cells if any(cells) else ["x", "", ""]
rows = [record() for _ in range(1000)]
for name, dialect in (("a.csv", "excel"), ("a.tsv", "excel-tab")):
    with open(f"{sys.argv[1]}/{name}", "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f, dialect=dialect); w.writerow(["one", "two, three", "four"]); w.writerows(rows)
with open(f"{sys.argv[1]}/a.csv", newline="", encoding="utf-8") as f:
    for r in csv.DictReader(f): print(json.dumps(r))
)",
                                          {dir_.path().string()});
  expect_same_rows(read_rows(dir_ / "a.csv"), expected);
  expect_same_rows(read_rows(dir_ / "a.tsv"), expected);
}

TEST_F(TextFiles, OtherEncodingsAreRefusedWithARemedy) {
  EXPECT_THAT(error_of("a.csv", "name\ncaf\xe9\n"), AllOf(HasSubstr("row 1 (line 2): byte 3"), HasSubstr("iconv -f")));
  EXPECT_THAT(error_of("a.jsonl", std::string("{\0\"\0", 4)), HasSubstr("iconv -f UTF-16LE"));
  EXPECT_THAT(error_of("a.csv", std::string("\0a\0\n", 4)), HasSubstr("iconv -f UTF-16BE"));
  EXPECT_THAT(error_of("a.csv", std::string("\xFF\xFE\0\0a\0\0\0", 8)), HasSubstr("UTF-32"));
  EXPECT_THAT(error_of("a.csv", std::string("\xFF\xFEn\0\n\0\x00\xD8x\0", 10)),
              AllOf(HasSubstr("row 1 (line 2)"), HasSubstr("not valid UTF-16 before byte 10")));
  EXPECT_THAT(error_of("a.csv", std::string("\xFF\xFEn\0\n\0x", 7)), HasSubstr("not valid UTF-16"));
}

TEST_F(TextFiles, DamagedPackedFilesAreErrorsThatNameTheRow) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "{\"a\":" + std::to_string(i * 7919) + "}\n";
  const std::string packed = zstd(text);
  EXPECT_THAT(error_of("a.jsonl.zst", packed.substr(0, packed.size() / 2)),
              AllOf(HasSubstr("a.jsonl.zst: row "), HasSubstr("cut short")));
  EXPECT_THAT(error_of("a.jsonl.zst", ""), HasSubstr("cut short"));
  EXPECT_THAT(error_of("a.jsonl.gz", "plain text"), HasSubstr("not valid gzip data"));
  EXPECT_THAT(error_of("a.jsonl.zst", "plain text"), HasSubstr("not valid zstd data"));
}

// Blocks whose unpacked end falls on the end of a read must not be taken for a file that is cut short.
TEST_F(TextFiles, LargePackedFilesAreReadToTheEnd) {
  for (const size_t size : {size_t{1} << 17, size_t{1} << 18, (size_t{1} << 18) - 8, size_t{3} << 18}) {
    const std::string text = "{\"a\":\"" + std::string(size - 8, 'x') + "\"}";
    ASSERT_EQ(text.size(), size);
    const ReadRows read = read_rows(write("a.jsonl.zst", zstd(text)));
    EXPECT_EQ(read.error, "");
    ASSERT_EQ(read.rows.size(), 1U);
    EXPECT_EQ(read.rows[0].dump(), text);
  }
}

TEST_F(TextFiles, PackedFilesCutAnywhereGiveErrors) {
  const std::string packed = zstd("a,b\n1,2\n3,4\n");
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_NE(error_of("a.csv.zst", packed.substr(0, size)), "") << size;
  }
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string mutant = packed;
    mutant[random() % mutant.size()] = static_cast<char>(random());
    (void)error_of("a.csv.zst", mutant);
  }
}

TEST_F(TextFiles, WideRowsTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(read_rows(write("a.jsonl", text + "}\n")).rows.size(), 1U);
  EXPECT_THAT(error_of("a.jsonl", text + ",\"5\":1}\n"), HasSubstr("duplicate key '5'"));
  EXPECT_THAT(error_of("a.csv", std::string(1 << 17, ',')), HasSubstr("more than 65536 fields"));
}

}  // namespace
}  // namespace graft::formats
