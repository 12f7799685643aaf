#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"
#include "formats/safetensors_writer.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\x01');
}

Result<SafetensorsContents> parse(std::string_view bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

std::string refusal(const std::string& header, size_t data_bytes) {
  const auto contents = parse(file_bytes(header, data_bytes));
  return contents.ok() ? "accepted" : contents.error().message;
}

std::span<const std::byte> bytes_of(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

std::vector<float> floats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(to_float32(view, values).ok());
  return values;
}

TEST(Safetensors, ReadsWhatThePackageWrites) {
  TestDirectory dir;
  const std::string path = dir / "m.safetensors";
  ASSERT_EQ(run_python(R"(
import sys, torch
from safetensors.torch import save_file
t = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4
save_file({"a.f32": t, "b.bf16": t.bfloat16(), "c.f16": -t.half(), "d.f64": t.double(), "odd": torch.ones(3, dtype=torch.int8),
           "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 7)}, sys.argv[1], metadata={"format": "pt"})
)",
                       {path}),
            "");
  const SafetensorsFile file = SafetensorsFile::open(path).value();
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const std::vector<float> expected = {0, .25, .5, .75, 1, 1.25};
  EXPECT_EQ(floats(*file.find("a.f32")), expected);
  EXPECT_EQ(floats(*file.find("b.bf16")), expected);
  EXPECT_EQ(floats(*file.find("d.f64")), expected);
  EXPECT_EQ(floats(*file.find("c.f16"))[5], -1.25F);
  EXPECT_THAT(file.find("a.f32")->shape, ElementsAre(2, 3));
  EXPECT_EQ(file.find("odd")->dtype, DType::kI8);
  EXPECT_EQ(floats(*file.find("scalar"))[0], 2.5F);
  EXPECT_EQ(file.find("empty")->elements(), 0);
  EXPECT_EQ(file.find("none"), nullptr);
}

TEST(Safetensors, ThePackageReadsWhatIsWritten) {
  TestDirectory dir;
  const std::string path = dir / "m.safetensors";
  const std::vector<float> one = {1, 2, 3};
  const std::vector<float> two = {4, 5, 6, 7};
  for (const bool align : {false, true}) {
    auto writer = SafetensorsWriter::create(
        path, {{"z", DType::kF32, {3}}, {"nothing", DType::kF32, {0, 2}}, {"a", DType::kF32, {2, 2}}},
        {.metadata = {{"format", "pt"}}, .align_tensors = align});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->write("z", bytes_of(one)).ok());
    ASSERT_TRUE(writer->write("a", bytes_of(two).first(4)).ok());
    ASSERT_TRUE(writer->write("a", bytes_of(two).subspan(4)).ok());
    ASSERT_TRUE(writer->commit().ok());
    EXPECT_EQ(run_python(R"(
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], "pt") as f:
    print(f.metadata(), f.get_tensor("z").tolist(), f.get_tensor("a").tolist(), list(f.get_tensor("nothing").shape))
)",
                         {path}),
              "{'format': 'pt'} [1.0, 2.0, 3.0] [[4.0, 5.0], [6.0, 7.0]] [0, 2]");
    const SafetensorsFile file = SafetensorsFile::open(path).value();
    EXPECT_EQ(file.tensors().size(), 3U);
    const auto offset = [&](const char* name) { return file.find(name)->data.data() - file.bytes().data(); };
    EXPECT_EQ(offset("z") % 64, 0);
    EXPECT_EQ(offset("a") % 64 == 0, align);
  }
}

TEST(Safetensors, TheWriterLeavesNothingUnlessComplete) {
  TestDirectory dir;
  const std::vector<float> one = {1, 2, 3};
  {
    auto writer = SafetensorsWriter::create(dir / "f", {{"a", DType::kF32, {2}}, {"b", DType::kF32, {3}}});
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(writer->write("b", bytes_of(one)).ok());
    EXPECT_FALSE(writer->write("a", bytes_of(one)).ok());
    EXPECT_FALSE(writer->commit().ok());
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
  EXPECT_FALSE(SafetensorsWriter::create(dir / "f", {{"a", DType::kF32, {2}}, {"a", DType::kF32, {3}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::create(dir / "f", {{"q", DType::kQ4_0, {32}}}).ok());
}

TEST(Safetensors, UnalignedDataIsReadable) {
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  std::string bytes = file_bytes(header, 5);
  const float value = 3.25F;
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  const auto contents = parse(bytes);
  ASSERT_TRUE(contents.ok()) << contents.error().message;
  EXPECT_EQ(floats(contents->tensors[1])[0], 3.25F);
}

TEST(Safetensors, LyingHeadersAreRefusedWithTheReason) {
  auto tensor = [](const std::string& shape, const std::string& offsets) {
    return R"("t":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  EXPECT_EQ(refusal("{" + tensor("[2]", "[0,8]") + "}", 8), "accepted");
  EXPECT_EQ(refusal("{" + tensor("[]", "[0,4]") + "}   ", 4), "accepted");
  EXPECT_THAT(refusal("{" + tensor("[2]", "[0,8]") + "}", 7), HasSubstr("cut short"));
  EXPECT_THAT(refusal("{" + tensor("[2]", "[0,8]") + "}", 9), HasSubstr("the file holds 9"));
  EXPECT_THAT(refusal("{" + tensor("[2]", "[0,12]") + "}", 12), HasSubstr("its shape and dtype need 8"));
  EXPECT_THAT(refusal("{" + tensor("[2]", "[8,0]") + "}", 8), HasSubstr("data_offsets"));
  EXPECT_THAT(refusal("{" + tensor("[2]", "[4,12]") + "}", 12), HasSubstr("gap"));
  EXPECT_THAT(refusal("{" + tensor("[-1]", "[0,4]") + "}", 4), HasSubstr("whole number"));
  EXPECT_THAT(refusal("{" + tensor("[1.5]", "[0,4]") + "}", 4), HasSubstr("whole number"));
  EXPECT_THAT(refusal("{" + tensor("[18446744073709551615]", "[0,4]") + "}", 4), HasSubstr("whole number"));
  EXPECT_THAT(refusal("{" + tensor("[4294967296,4294967296]", "[0,4]") + "}", 4), HasSubstr("too large"));
  EXPECT_THAT(refusal("{" + tensor("[4611686018427387904]", "[0,4]") + "}", 4), HasSubstr("too large"));
  EXPECT_THAT(refusal("{" + tensor("[2]", "[0,8]") + "," + tensor("[2]", "[0,8]") + "}", 8),
              HasSubstr("duplicate key"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                      8),
              HasSubstr("overlaps"));
  EXPECT_THAT(refusal(R"({"t":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("'F8_E8M0'"));
  EXPECT_THAT(refusal(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1),
              HasSubstr("unknown key 'x'"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("not a string"));
  EXPECT_THAT(refusal("[]", 0), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal(std::string(1000, '['), 0), HasSubstr("nested deeper"));
}

TEST(Safetensors, HugeHeaderLengthsAreRefusedBeforeReading) {
  EXPECT_FALSE(parse("").ok());
  EXPECT_FALSE(parse("1234567").ok());
  EXPECT_THAT(parse(std::string(8, '\xff') + "{}").error().message, HasSubstr("100 MB"));
  EXPECT_THAT(parse(std::string("\x09\0\0\0\0\0\0\0{}", 10)).error().message, HasSubstr("cut short"));
}

TEST(Safetensors, CutAndMutatedFilesNeverCrash) {
  const std::string good =
      file_bytes(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                 R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                 32);
  ASSERT_TRUE(parse(good).ok());
  for (size_t length = 0; length < good.size(); ++length) EXPECT_FALSE(parse(good.substr(0, length)).ok()) << length;
  std::mt19937 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string mutant = good;
    for (int change = 0; change < 2; ++change) mutant[random() % mutant.size()] = static_cast<char>(random());
    const auto contents = parse(mutant);
    if (!contents.ok()) continue;
    for (const TensorView& view : contents->tensors) {
      std::vector<float> values(static_cast<size_t>(view.elements()));
      (void)to_float32(view, values).ok();
    }
  }
}

}  // namespace
}  // namespace graft::formats
