// Parquet and Arrow files against pyarrow, through the library as programs load it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dataset_test_support.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

class ArrowFiles : public testing::Test {
 protected:
  // Runs a script that has pyarrow as pa, parquet as pq, ipc, and `folder`; what it prints is returned.
  std::string python(const std::string& script) {
    return run_python(
        "import datetime as d, decimal, json, random, sys\nimport pyarrow as pa, pyarrow.parquet as pq, pyarrow.ipc as "
        "ipc, pyarrow.feather as feather\nfolder = sys.argv[1]\n" +
            script,
        {dir_.path().string()});
  }

  TestDirectory dir_;
};

TEST_F(ArrowFiles, EveryTypeAgreesWithPyarrow) {
  const std::string expected = python(R"(
random.seed(2)
n = 3000
def some(make): return [None if random.random() < 0.2 else make() for _ in range(n)]
r = random.randrange
day = lambda: d.date(1, 1, 1) + d.timedelta(days=r(3650000))
moment = lambda: d.datetime(1960, 1, 1) + d.timedelta(microseconds=r(4 * 10**15))
word = lambda: "".join(random.choice("aé😀 \n") for _ in range(r(6)))
columns = {
  "i8": pa.array(some(lambda: r(-128, 128)), pa.int8()), "u64": pa.array(some(lambda: r(2**64)), pa.uint64()),
  "i64": pa.array(some(lambda: r(-2**63, 2**63)), pa.int64()), "i32": pa.array(some(lambda: r(-2**31, 2**31)), pa.int32()),
  "f64": pa.array(some(random.random), pa.float64()), "f32": pa.array(some(random.random), pa.float32()),
  "flag": pa.array(some(lambda: r(2) == 1)), "text": pa.array(some(word)), "large": pa.array(some(word), pa.large_string()),
  "bytes": pa.array([None if v is None else v.encode() for v in some(word)], pa.binary()),
  "word": pa.array(some(lambda: random.choice(["ham", "spam"]))).dictionary_encode(),
  "day": pa.array(some(day), pa.date32()), "stamp_us": pa.array(some(moment), pa.timestamp("us")),
  "stamp_s": pa.array([None if v is None else v.replace(microsecond=0) for v in some(moment)], pa.timestamp("ms")),
  "zoned": pa.array(some(moment), pa.timestamp("us", "Europe/Berlin")),
  "clock": pa.array(some(lambda: d.time(r(24), r(60), r(60), r(1000) * 1000)), pa.time64("us")),
  "money": pa.array(some(lambda: decimal.Decimal(r(-10**12, 10**12)).scaleb(-3)), pa.decimal128(20, 3)),
  "list": pa.array(some(lambda: [r(9) for _ in range(r(4))]), pa.list_(pa.int64())),
  "fixed": pa.array(some(lambda: [r(9), None]), pa.list_(pa.int64(), 2)),
  "chat": pa.array(some(lambda: [{"role": "user", "content": word()} for _ in range(r(3))]),
                   pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
  "map": pa.array(some(lambda: [("k" + str(i), r(5)) for i in range(r(3))]), pa.map_(pa.string(), pa.int64())),
  "none": pa.nulls(n),
}
table = pa.table(columns)
for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
    pq.write_table(table, f"{folder}/{codec}.parquet", compression=codec, row_group_size=700)
pq.write_table(table, f"{folder}/v2.parquet", data_page_version="2.0", use_dictionary=False, data_page_size=512)
with ipc.new_file(f"{folder}/file.arrow", table.schema) as w: w.write_table(table, max_chunksize=500)
with ipc.new_stream(f"{folder}/stream.arrow", table.schema) as w: w.write_table(table, max_chunksize=500)
feather.write_feather(table, f"{folder}/a.feather", compression="zstd")
def plain(v):
    if isinstance(v, d.datetime):
        text = v.astimezone(d.timezone.utc).replace(tzinfo=None).isoformat() if v.tzinfo else v.isoformat()
        return (text.rstrip("0") if "." in text else text) + ("Z" if v.tzinfo else "")
    if isinstance(v, d.time): return v.isoformat().rstrip("0") if v.microsecond else v.isoformat()
    if isinstance(v, d.date): return v.isoformat()
    if isinstance(v, decimal.Decimal): return format(v, "f")
    if isinstance(v, bytes): return v.decode()
    return v
for row in table.to_pylist():
    out = {k: plain(v) for k, v in row.items()}
    if out["map"] is not None: out["map"] = dict(out["map"])
    print(json.dumps(out))
)");
  ASSERT_EQ(rows_of_lines(expected).size(), 3000U) << expected.substr(0, 2000);
  for (const std::string name : {"none.parquet", "snappy.parquet", "gzip.parquet", "zstd.parquet", "lz4.parquet",
                                 "brotli.parquet", "v2.parquet", "file.arrow", "stream.arrow", "a.feather"}) {
    SCOPED_TRACE(name);
    expect_same_rows(read_rows(dir_ / name), expected);
  }
}

TEST_F(ArrowFiles, MissingNumbersAreNullAndInfiniteOnesErrors) {
  EXPECT_EQ(python(R"(
pq.write_table(pa.table({"a": [float("nan"), 1.5]}), folder + "/nan.parquet")
pq.write_table(pa.table({"a": [1.5, float("inf")]}), folder + "/inf.parquet")
)"),
            "");
  EXPECT_EQ(read_rows(dir_ / "nan.parquet").rows[0].dump(), R"({"a":null})");
  EXPECT_THAT(read_rows(dir_ / "inf.parquet").error, HasSubstr("inf.parquet: row 2: column 'a': an infinite number"));
}

TEST_F(ArrowFiles, WhatIsNoTextOrNumberNamesItsColumn) {
  EXPECT_EQ(python(R"(
pq.write_table(pa.table({"image": [b"\xff\xd8"]}), folder + "/binary.parquet")
pq.write_table(pa.table({"t": pa.array([5], pa.duration("s"))}), folder + "/duration.parquet")
pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), folder + "/twice.parquet")
)"),
            "");
  EXPECT_THAT(read_rows(dir_ / "binary.parquet").error,
              HasSubstr("row 1: column 'image': byte 0 of the cell is not valid UTF-8"));
  EXPECT_THAT(read_rows(dir_ / "duration.parquet").error, HasSubstr("column 't': cells of the type duration"));
  EXPECT_THAT(read_rows(dir_ / "twice.parquet").error, HasSubstr("'a' is named twice"));
  EXPECT_THAT(read_rows(dir_ / "gone.parquet").error, HasSubstr("No such file"));
}

TEST_F(ArrowFiles, CutAndMutatedFilesGiveRowsOrErrors) {
  EXPECT_EQ(python(R"(
table = pa.table({"a": ["one", "two", None] * 20, "b": [[1], None, [2, 3]] * 20})
pq.write_table(table, folder + "/a.parquet")
with ipc.new_file(folder + "/a.arrow", table.schema) as w: w.write_table(table)
with ipc.new_stream(folder + "/b.arrow", table.schema) as w: w.write_table(table)
)"),
            "");
  std::mt19937 random(4);
  for (const std::string name : {"a.parquet", "a.arrow", "b.arrow"}) {
    const std::string bytes = read_file(dir_ / name).value();
    const std::string other = "mutant-" + name;
    const auto try_out = [&](const std::string& variant) {
      std::ofstream(dir_ / other, std::ios::binary) << variant;
      return read_rows(dir_ / other);
    };
    for (size_t size = 0; size < bytes.size(); size += 7) {
      const ReadRows read = try_out(bytes.substr(0, size));
      const bool may_end = name == "b.arrow";  // a stream may end after any batch
      EXPECT_TRUE(may_end || !read.error.empty()) << name << " " << size;
      EXPECT_EQ(read.error.find('\n'), std::string::npos);
    }
    for (int i = 0; i < 300; ++i) {
      std::string mutant = bytes;
      for (int change = 0; change < 1 + i % 3; ++change) mutant[random() % mutant.size()] = static_cast<char>(random());
      EXPECT_EQ(try_out(mutant).error.find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace graft::formats
