#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<GgufContents> parse(std::string_view bytes) {
  return parse_gguf(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

std::string refusal(std::string_view bytes) {
  const auto contents = parse(bytes);
  return contents.ok() ? "accepted" : contents.error().message;
}

// Builds a file byte by byte, so that a test can lie in any place.
class Builder {
 public:
  template <class T>
  Builder& put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Builder& text(std::string_view value) {
    put<uint64_t>(value.size());
    bytes_ += value;
    return *this;
  }
  Builder& start(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    bytes_ += "GGUF";
    return put(version).put(tensors).put(entries);
  }
  Builder& entry_u32(std::string_view key, uint32_t value) { return text(key).put<uint32_t>(4).put(value); }
  Builder& tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    text(name).put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t size : dims) put(size);
    return put(type).put(offset);
  }
  Builder& data(size_t size, size_t alignment = 32) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    bytes_.append(size, '\x01');
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

constexpr const char* kEveryKind = R"(
import sys, numpy as np, gguf
from gguf import GGUFValueType as V, GGMLQuantizationType as T
w = gguf.GGUFWriter(sys.argv[1], "llama")
w.add_uint8("u8", 200); w.add_int8("i8", -100); w.add_uint16("u16", 60000); w.add_int16("i16", -30000)
w.add_uint32("u32", 4000000000); w.add_int32("i32", -2000000000); w.add_float32("f32", 1.5); w.add_bool("yes", True)
w.add_string("text", "h\u00e9llo"); w.add_uint64("u64", 2**40); w.add_int64("i64", -2**40); w.add_float64("f64", 0.1)
w.add_array("strings", ["a", "", "\u20ac"]); w.add_array("ints", [1, -2, 3]); w.add_array("floats", [0.5, 2.5]); w.add_array("bools", [True, False])
rng = np.random.default_rng(1)
for kind in sys.argv[2].split(","):
    x = rng.normal(size=(3, 64)).astype(np.float32)
    q = gguf.quants.quantize(x, T[kind])
    w.add_tensor("t." + kind, q, raw_dtype=T[kind])
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
)";

TEST(Gguf, ReadsWhatThePackageWrites) {
  TestDirectory dir;
  ASSERT_EQ(run_python(kEveryKind, {dir / "m.gguf", "F32,F16,BF16,Q4_0,Q4_1,Q5_0,Q5_1,Q8_0"}), "");
  const GgufFile file = GgufFile::open(dir / "m.gguf").value();
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.integer("u8").value(), 200);
  EXPECT_EQ(metadata.integer("i8").value(), -100);
  EXPECT_EQ(metadata.integer("u16").value(), 60000);
  EXPECT_EQ(metadata.integer("i16").value(), -30000);
  EXPECT_EQ(metadata.integer("u32").value(), 4000000000);
  EXPECT_EQ(metadata.integer("i32").value(), -2000000000);
  EXPECT_EQ(metadata.integer("u64").value(), int64_t{1} << 40);
  EXPECT_EQ(metadata.integer("i64").value(), -(int64_t{1} << 40));
  EXPECT_EQ(metadata.number("f32").value(), 1.5);
  EXPECT_EQ(metadata.number("f64").value(), 0.1);
  EXPECT_TRUE(metadata.boolean_or("yes", false).value());
  EXPECT_EQ(metadata.text("text").value(), "héllo");
  EXPECT_THAT(*metadata.texts("strings").value(), ElementsAre("a", "", "€"));
  EXPECT_THAT(metadata.integers("ints").value(), ElementsAre(1, -2, 3));
  EXPECT_THAT(metadata.integer("text").error().message, HasSubstr("'text' must be a whole number"));
  EXPECT_THAT(metadata.integer("none").error().message, HasSubstr("'none' is missing"));

  ASSERT_EQ(file.tensors().size(), 8U);
  EXPECT_THAT(file.find("t.Q4_1")->shape, ElementsAre(3, 64));
  const std::string printed = run_python(R"(
import sys, gguf
for t in gguf.GGUFReader(sys.argv[1]).tensors:
    gguf.quants.dequantize(t.data, t.tensor_type).astype("float32").tofile(sys.argv[1] + "." + t.name)
)",
                                         {dir / "m.gguf"});
  ASSERT_EQ(printed, "");
  for (const TensorView& tensor : file.tensors()) {
    std::vector<float> ours(static_cast<size_t>(tensor.elements()));
    ASSERT_TRUE(to_float32(tensor, ours).ok());
    const std::string theirs = read_file(dir / ("m.gguf." + tensor.name)).value();
    ASSERT_EQ(theirs.size(), ours.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(theirs.data(), ours.data(), theirs.size()), 0) << tensor.name;
  }
}

TEST(Gguf, TypesThatCannotBeReadAreNamed) {
  TestDirectory dir;
  ASSERT_EQ(run_python(kEveryKind, {dir / "m.gguf", "F32,MXFP4"}), "");
  const Error error = GgufFile::open(dir / "m.gguf").error();
  EXPECT_EQ(error.kind, ErrorKind::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("tensor 't.MXFP4': type MXFP4 is not supported"));
}

TEST(Gguf, OtherVersionsAndByteOrdersAreRefusedWithTheReason) {
  EXPECT_EQ(refusal(Builder().start(0, 0).bytes()), "accepted");
  EXPECT_THAT(refusal(Builder().start(0, 0, 2).bytes()), HasSubstr("GGUF version 2 is not supported"));
  EXPECT_THAT(refusal(Builder().start(0, 0, 0x03000000).bytes()), HasSubstr("big-endian"));
  EXPECT_THAT(refusal("GGML"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(refusal(""), HasSubstr("cut short"));
}

TEST(Gguf, HugeCountsAreRefusedBeforeAnythingIsAllocated) {
  EXPECT_THAT(refusal(Builder().start(UINT64_MAX, 0).bytes()), HasSubstr("more than the file can hold"));
  EXPECT_THAT(refusal(Builder().start(0, UINT64_MAX).bytes()), HasSubstr("more than the file can hold"));
  EXPECT_THAT(refusal(Builder().start(0, 1).put<uint64_t>(UINT64_MAX).put<uint64_t>(0).bytes()),
              HasSubstr("longer than the rest"));
  EXPECT_THAT(
      refusal(Builder().start(0, 1).text("a").put<uint32_t>(9).put<uint32_t>(0).put<uint64_t>(UINT64_MAX).bytes()),
      HasSubstr("longer than the rest"));
  EXPECT_THAT(
      refusal(
          Builder().start(0, 1).text("a").put<uint32_t>(9).put<uint32_t>(8).put<uint64_t>(1).put<uint64_t>(99).bytes()),
      HasSubstr("longer than the rest"));
  Builder nested;
  nested.start(0, 1).text("a").put<uint32_t>(9);
  for (int i = 0; i < 50; ++i) nested.put<uint32_t>(9).put<uint64_t>(1);
  EXPECT_THAT(refusal(nested.put<uint64_t>(0).bytes()), HasSubstr("nested too deeply"));
}

TEST(Gguf, LyingMetadataIsRefusedByKey) {
  EXPECT_THAT(refusal(Builder().start(0, 2).entry_u32("a", 1).entry_u32("a", 2).bytes()),
              HasSubstr("'a' is there twice"));
  EXPECT_THAT(refusal(Builder().start(0, 1).text("a").put<uint32_t>(13).put<uint64_t>(0).bytes()),
              HasSubstr("type 13 does not exist"));
  EXPECT_THAT(refusal(Builder().start(0, 1).text("a").put<uint32_t>(7).put<uint8_t>(2).put<uint64_t>(0).bytes()),
              HasSubstr("0 or 1"));
  EXPECT_THAT(refusal(Builder().start(0, 1).text("\xff").put<uint32_t>(4).put<uint32_t>(1).bytes()),
              HasSubstr("not valid UTF-8"));
  EXPECT_THAT(refusal(Builder().start(0, 1).text("a").put<uint32_t>(8).text("\xff").bytes()),
              HasSubstr("not valid UTF-8"));
  EXPECT_THAT(refusal(Builder().start(0, 1).entry_u32("general.alignment", 48).bytes()), HasSubstr("power of two"));
  EXPECT_THAT(refusal(Builder().start(0, 1).entry_u32("general.alignment", 0).bytes()), HasSubstr("power of two"));
}

TEST(Gguf, LyingTensorsAreRefusedByName) {
  const auto one = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset, size_t data) {
    return refusal(Builder().start(1, 0).tensor("t", std::move(dims), type, offset).data(data).bytes());
  };
  EXPECT_EQ(one({4}, 0, 0, 16), "accepted");
  EXPECT_THAT(one({4}, 0, 0, 15), HasSubstr("'t': its data ends after the file"));
  EXPECT_THAT(one({4}, 0, UINT64_MAX - 31, 16), HasSubstr("ends after the file"));
  EXPECT_THAT(one({4}, 0, 4, 32), HasSubstr("multiple of the alignment"));
  EXPECT_THAT(one({1, 1, 1, 1, 1}, 0, 0, 4), HasSubstr("5 dimensions"));
  EXPECT_THAT(one({UINT64_MAX}, 0, 0, 16), HasSubstr("out of range"));
  EXPECT_THAT(one({1ULL << 40, 1ULL << 40}, 0, 0, 16), HasSubstr("too large"));
  EXPECT_THAT(one({0}, 0, 0, 16), HasSubstr("out of range"));
  EXPECT_THAT(one({33}, 2, 0, 64), HasSubstr("not whole blocks of Q4_0"));
  EXPECT_THAT(one({4}, 5, 0, 16), HasSubstr("type number 5 is not known"));
  EXPECT_THAT(one({256}, 16, 0, 66), HasSubstr("type IQ2_XXS is not supported"));
  EXPECT_THAT(refusal(Builder().start(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(64).bytes()),
              HasSubstr("'a' and 'b' overlap"));
  EXPECT_THAT(refusal(Builder().start(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(64).bytes()),
              HasSubstr("'a' is there twice"));
}

TEST(Gguf, CutAndMutatedFilesNeverCrash) {
  TestDirectory dir;
  ASSERT_EQ(run_python(kEveryKind, {dir / "m.gguf", "F32,Q4_1"}), "");
  const std::string good = read_file(dir / "m.gguf").value();
  ASSERT_TRUE(parse(good).ok());
  constexpr size_t kPadding = 8;  // behind the last tensor's 120 bytes; its loss is harmless
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_EQ(parse(good.substr(0, length)).ok(), length >= good.size() - kPadding) << length;
  }
  const size_t header = good.size() - 3 * 64 * 4;
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    std::string mutant = good;
    for (int change = 0; change < 2; ++change) mutant[random() % header] = static_cast<char>(random());
    const auto contents = parse(mutant);
    if (!contents.ok()) continue;
    for (const TensorView& view : contents->tensors) {
      std::vector<float> values(static_cast<size_t>(view.elements()));
      (void)to_float32(view, values).ok();
    }
  }
}

// Three parts D/m-0000K-of-00003.gguf, written by the package, and the same in one file D/whole.gguf.
constexpr const char* kParts = R"(
import sys, pathlib, numpy as np, gguf
d = pathlib.Path(sys.argv[1])
def write(out, **split):
    w = gguf.GGUFWriter(out, "llama", **split)
    w.add_uint32("answer", 42)
    for i in range(6): w.add_tensor(f"t{i}", np.full((2, 32), i, np.float32))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
write(d / "whole.gguf")
write(d / "m.gguf", split_max_tensors=2)
)";

TEST(GgufParts, AnyPartOpensAll) {
  TestDirectory dir;
  ASSERT_EQ(run_python(kParts, {dir.path()}), "");
  const GgufFile whole = GgufFile::open(dir / "whole.gguf").value();
  for (const char* name : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    const auto file = GgufFile::open(dir / name);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->parts().size(), 3U);
    EXPECT_EQ(file->metadata().integer("answer").value(), 42);
    ASSERT_EQ(file->tensors().size(), whole.tensors().size());
    for (const TensorView& tensor : whole.tensors()) {
      const TensorView* part = file->find(tensor.name);
      ASSERT_NE(part, nullptr) << tensor.name;
      ASSERT_EQ(part->data.size(), tensor.data.size());
      EXPECT_EQ(std::memcmp(part->data.data(), tensor.data.data(), tensor.data.size()), 0) << tensor.name;
    }
  }
}

TEST(GgufParts, MissingRenamedAndForeignPartsAreNamed) {
  TestDirectory dir;
  ASSERT_EQ(run_python(kParts, {dir.path()}), "");
  const auto message = [&](const char* name) {
    const auto file = GgufFile::open(dir / name);
    return file.ok() ? "accepted" : file.error().message;
  };
  fs::copy_file(dir / "m-00001-of-00003.gguf", dir / "first.gguf");
  EXPECT_THAT(message("first.gguf"), HasSubstr("its name must end in '-00001-of-00003.gguf'"));
  fs::rename(dir / "m-00002-of-00003.gguf", dir / "two");
  EXPECT_THAT(message("m-00001-of-00003.gguf"), AllOf(HasSubstr("m-00002-of-00003.gguf"), HasSubstr("is missing")));
  fs::copy_file(dir / "whole.gguf", dir / "m-00002-of-00003.gguf");
  EXPECT_THAT(message("m-00001-of-00003.gguf"), HasSubstr("not part 2 of 3 of this model"));
}

}  // namespace
}  // namespace graft::formats
