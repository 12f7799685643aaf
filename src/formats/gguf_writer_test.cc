#include "formats/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/gguf.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

GgufFields some_fields() {
  GgufFields fields;
  fields.add_text("general.architecture", "llama");
  fields.add_u32("u", 4000000000U);
  fields.add_f32("f", 1.5F);
  fields.add_bool("yes", true);
  fields.add_texts("texts", {"a", "", "\u20ac"});
  fields.add_i32s("ints", {1, -2});
  fields.add_f32s("floats", {0.5F, -2.5F});
  return fields;
}

TEST(GgufWriter, ThePackageAndTheReaderReadWhatItWrites) {
  TestDirectory dir;
  std::vector<float> values(96);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const auto bytes = std::as_bytes(std::span(values));
  auto writer = GgufWriter::create(dir / "m.gguf", some_fields(),
                                   {{"first", DType::kF32, {3, 7}}, {"second", DType::kF32, {2, 2, 5}}});
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  EXPECT_FALSE(fs::exists(dir / "m.gguf"));
  ASSERT_TRUE(writer->write("first", bytes.first(40)).ok());
  ASSERT_TRUE(writer->write("first", bytes.subspan(40, 44)).ok());
  ASSERT_TRUE(writer->write("second", bytes.first(80)).ok());
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_EQ(run_python(R"(
import sys, gguf
r = gguf.GGUFReader(sys.argv[1])
get = lambda k: r.fields[k].contents()
assert (get("u"), get("f"), get("yes"), get("texts"), get("ints"), get("floats")) == (4000000000, 1.5, True, ["a", "", "\u20ac"], [1, -2], [0.5, -2.5])
a, b = r.tensors
assert (a.name, a.data.shape, b.data.shape) == ("first", (3, 7), (2, 2, 5)), (a.data.shape, b.data.shape)
assert a.data[1, 2] == 9 and b.data[1, 1, 4] == 19 and b.data_offset % 32 == 0
)",
                       {dir / "m.gguf"}),
            "");
  const GgufFile file = GgufFile::open(dir / "m.gguf").value();
  EXPECT_EQ(file.find("second")->shape, (std::vector<int64_t>{2, 2, 5}));
  EXPECT_EQ(file.metadata().integer("u").value(), 4000000000);
}

TEST(GgufWriter, WrongUseLeavesNothingBehind) {
  TestDirectory dir;
  const std::vector<std::byte> bytes(64);
  const std::vector<TensorDeclaration> one = {{"t", DType::kF32, {4}}};
  {
    auto writer = GgufWriter::create(dir / "m.gguf", some_fields(), one).value();
    EXPECT_FALSE(writer.write("other", std::span(bytes).first(16)).ok());
    EXPECT_FALSE(writer.write("t", std::span(bytes).first(17)).ok());
    EXPECT_THAT(writer.commit().error().message, HasSubstr("data of tensor 't' is missing"));
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
  const auto refused = [&](TensorDeclaration tensor) {
    return GgufWriter::create(dir / "m.gguf", {}, {std::move(tensor)}).error().message;
  };
  EXPECT_THAT(refused({"t", DType::kQ4K, {2, 32}}), HasSubstr("cannot be written"));
  EXPECT_THAT(refused({"t", DType::kBool, {2}}), HasSubstr("cannot be written"));
  EXPECT_THAT(refused({"t", DType::kF32, {1, 1, 1, 1, 1}}), HasSubstr("at most 4"));
  EXPECT_THAT(refused({"t", DType::kF32, {0}}), HasSubstr("no empty tensors"));
  EXPECT_THAT(GgufWriter::create(dir / "m.gguf", {}, {one[0], one[0]}).error().message, HasSubstr("twice"));
}

}  // namespace
}  // namespace graft::formats
