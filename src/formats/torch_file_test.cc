#include "formats/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"
#include "formats/pickle.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// The files that each of the Python `bodies` writes to `path`; one process for all, as importing torch takes a second.
std::vector<std::string> made(const std::vector<std::string>& bodies) {
  TestDirectory dir;
  std::vector<std::string> arguments = {dir.path()};
  arguments.insert(arguments.end(), bodies.begin(), bodies.end());
  EXPECT_EQ(run_python(R"(
import sys, torch, pickle, zipfile, io, collections
for number, body in enumerate(sys.argv[2:]):
    path = f"{sys.argv[1]}/{number}"
    exec(body, globals())
)",
                       arguments),
            "");
  std::vector<std::string> files;
  for (size_t i = 0; i < bodies.size(); ++i) files.push_back(read_file(dir / std::to_string(i)).value());
  return files;
}

std::string refusal(const std::string& file) {
  const auto contents = parse_torch(bytes_of(file));
  return contents.ok() ? "accepted" : contents.error().message;
}

using Matcher = testing::Matcher<std::string>;

// Each body's file must be refused with such a message, or "accepted". `prelude` is run before each.
void expect_refusals(const std::string& prelude, const std::vector<std::pair<std::string, Matcher>>& cases) {
  std::vector<std::string> bodies;
  for (const auto& [body, expected] : cases) bodies.push_back(prelude + "\n" + body);
  const std::vector<std::string> files = made(bodies);
  for (size_t i = 0; i < cases.size(); ++i) EXPECT_THAT(refusal(files[i]), cases[i].second) << cases[i].first;
}

// The raw bytes of every tensor must be those of its contiguous form in torch.
TEST(TorchFile, EveryTensorHasTorchsBytes) {
  TestDirectory dir;
  ASSERT_EQ(run_python(R"(
import sys, torch, collections, numpy as np
torch.manual_seed(0)
x = torch.randn(6, 10)
shared = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict()
for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16): state[str(dtype)] = x.to(dtype)
for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8): state[str(dtype)] = (x * 50).abs().to(dtype)
for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2): state[str(dtype)] = x.abs().to(dtype)
state["bool"] = x > 0
state["parameter"] = torch.nn.Parameter(x.clone())
state["transposed"] = x.t()
state["permuted"] = torch.randn(3, 4, 5).permute(2, 0, 1)
state["strided"] = x[::2, 1::3]
state["view.a"], state["view.b"] = shared[:6].view(2, 3), shared[6:].view(3, 6)
state["scalar"] = torch.tensor(2.5)
state["empty"] = torch.zeros(0, 3)
state["one"] = torch.randn(4, 1, 3)[:, :, :1]
state["number"] = 3
protocol = int(sys.argv[2])
torch.save(state, sys.argv[1] + "/model.bin", pickle_protocol=protocol)
for name, t in state.items():
    if torch.is_tensor(t): open(sys.argv[1] + "/" + name, "wb").write(t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if t.numel() and t.dim() else (t.numpy().tobytes() if t.numel() else b""))
print(len(state) - 1, end="")
)",
                       {dir.path(), "2"}),
            "24");
  const auto file = open_torch(dir / "model.bin");
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ((*file)->tensors().size(), 24U);
  for (const TensorView& tensor : (*file)->tensors()) {
    const std::string expected = read_file(dir / tensor.name).value();
    ASSERT_EQ(tensor.data.size(), expected.size()) << tensor.name;
    EXPECT_EQ(std::memcmp(tensor.data.data(), expected.data(), expected.size()), 0) << tensor.name;
  }
  EXPECT_EQ((*file)->find("transposed")->shape, (std::vector<int64_t>{10, 6}));
  EXPECT_EQ((*file)->find("torch.float8_e4m3fn")->dtype, DType::kF8E4M3);
  EXPECT_EQ((*file)->find("number"), nullptr);
}

TEST(TorchFile, NewerProtocolsAndNestedDictsAreRead) {
  for (const std::string& file :
       made({"torch.save({'w': torch.ones(2)}, path, pickle_protocol=4)",
             "torch.save({'w': torch.ones(2)}, path, pickle_protocol=5)",
             "torch.save({'epoch': 1, 'loss': 0.5, 'state_dict': {'w': torch.ones(2)}}, path)",
             "torch.save({'model': collections.OrderedDict(w=torch.ones(2)), 'ids': [1, (2, None)]}, path)"})) {
    const auto contents = parse_torch(bytes_of(file));
    ASSERT_TRUE(contents.ok()) << contents.error().message;
    ASSERT_EQ(contents->tensors.size(), 1U);
    EXPECT_EQ(contents->tensors[0].name, "w");
  }
}

TEST(TorchFile, NoFileRunsCode) {
  const std::string classes = R"(
class Evil:
    def __reduce__(self): import os; return (os.system, ("touch owned",))
class Call:
    def __reduce__(self): return (eval, ("1+1",))
)";
  expect_refusals(classes,
                  {{"torch.save({'a': Evil()}, path)", AllOf(HasSubstr("posix.system"), HasSubstr("not loaded"))},
                   {"torch.save({'a': Call()}, path)", HasSubstr("eval")},
                   {"torch.save(torch.nn.Linear(2, 2), path)", HasSubstr("torch.nn.modules.linear.Linear")},
                   {"torch.save({'a': torch.ones(2).to_sparse()}, path)", HasSubstr("_rebuild_sparse_tensor")}});
}

TEST(TorchFile, OtherFormatsAreRefusedWithARemedy) {
  const std::string rewrite = R"(
def rewrite(method=zipfile.ZIP_STORED, change=lambda name, content: content):
    b = io.BytesIO(); torch.save({'a': torch.zeros(300)}, b)
    old = zipfile.ZipFile(b); new = zipfile.ZipFile(path, 'w', method)
    for i in old.infolist(): new.writestr(i.filename, change(i.filename, old.read(i)))
    new.close()
)";
  expect_refusals(rewrite,
                  {{"torch.save({'a': torch.ones(2)}, path, _use_new_zipfile_serialization=False)",
                    AllOf(HasSubstr("before 1.6"), HasSubstr("torch.load"))},
                   {"zipfile.ZipFile(path, 'w').writestr('a', 'b')", HasSubstr("no data.pkl")},
                   {"open(path, 'w').write('GGUF')", HasSubstr("not a zip archive")},
                   {"rewrite()", "accepted"},
                   {"rewrite(zipfile.ZIP_DEFLATED)", HasSubstr("is compressed")},
                   {"rewrite(change=lambda n, x: b'big' if 'byteorder' in n else x)", HasSubstr("byte order 'big'")},
                   {"rewrite(change=lambda n, x: x[:-4] if '/data/' in n else x)",
                    HasSubstr("'a': its storage holds 1196 bytes, not the 300 elements")}});
}

TEST(TorchFile, WindowsBeyondTheirStorageAndBombsAreRefused) {
  const std::string window = R"(
class T:
    def __init__(self, *window): self.window = window
    def __reduce__(self):
        storage = torch.storage.TypedStorage(wrap_storage=torch.ones(4).untyped_storage(), dtype=torch.float32, _internal=True)
        return (torch._utils._rebuild_tensor_v2, (storage, *self.window, False, collections.OrderedDict()))
def save(*window): torch.save({'a': T(*window)}, path)
)";
  expect_refusals(window, {{"torch.save({'a': torch.ones(1).expand(1 << 40)}, path)", HasSubstr("repeats elements")},
                           {"save(0, (2, 2), (2, 1))", "accepted"},
                           {"save(1, (2, 2), (2, 1))", HasSubstr("beyond its storage")},
                           {"save(0, (2, 2), (3, 1))", HasSubstr("beyond its storage")},
                           {"save(2**62, (2, 2), (2**62, 1))", HasSubstr("beyond its storage")},
                           {"save(0, (2**40, 2**40), (2, 1))", HasSubstr("too large")},
                           {"save(-1, (2, 2), (2, 1))", HasSubstr("impossible")},
                           {"save(0, (2, 2), (2,))", HasSubstr("impossible")},
                           {"save(0, (-2, 2), (2, 1))", HasSubstr("negative")}});
}

TEST(Pickle, BrokenProgramsAreErrors) {
  const auto message = [](const std::string& pickle) {
    const auto tensors = read_pickled_tensors(bytes_of(pickle));
    return tensors.ok() ? "accepted" : tensors.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("cut short"));
  EXPECT_THAT(message("."), HasSubstr("does not end with one value"));
  EXPECT_THAT(message("\x80\x06."), HasSubstr("protocol 6"));
  EXPECT_THAT(message("}."), HasSubstr("holds no tensors"));
  EXPECT_THAT(message("N."), HasSubstr("no state dict"));
  EXPECT_THAT(message("t."), HasSubstr("mark that is not there"));
  EXPECT_THAT(message("(0."), HasSubstr("not there"));
  EXPECT_THAT(message("h\x01."), HasSubstr("was not remembered"));
  EXPECT_THAT(message("NNs."), HasSubstr("not there"));
  EXPECT_THAT(message("]NNs."), HasSubstr("no dict"));
  EXPECT_THAT(message("}(Nu."), HasSubstr("no value"));
  EXPECT_THAT(message("NN\x52."), HasSubstr("no function"));
  EXPECT_THAT(message(std::string("X\xff\xff\xff\xff", 5)), HasSubstr("cut short"));
  EXPECT_THAT(message("cos\nsystem\n."), HasSubstr("'os.system'"));
  EXPECT_THAT(message("i"), HasSubstr("instruction 0x69"));
  EXPECT_THAT(message("}}."), HasSubstr("does not end with one value"));
}

TEST(TorchFile, AnyCutAndAnyChangeIsAnErrorOrTensors) {
  const std::string file =
      made({"torch.save({'a': torch.ones(2, 3).t(), 'b': torch.nn.Parameter(torch.ones(2))}, path)"}).front();
  for (size_t end = 0; end < file.size(); end += 7) EXPECT_NE(refusal(file.substr(0, end)), "accepted") << end;
  std::mt19937 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string changed = file;
    for (int j = 0; j < 1 + i % 3; ++j) changed[random() % changed.size()] = static_cast<char>(random());
    (void)parse_torch(bytes_of(changed));
  }
  const size_t begin = file.find("\x80\x02");
  std::string pickle = file.substr(begin, file.find('.', file.find("_rebuild_parameter")) + 1 - begin);
  for (int i = 0; i < 100000; ++i) {
    std::string changed = pickle;
    for (int j = 0; j < 1 + i % 4; ++j) changed[random() % changed.size()] = static_cast<char>(random());
    (void)read_pickled_tensors(bytes_of(changed));
  }
}

}  // namespace
}  // namespace graft::formats
