#include "formats/pickle.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "base/utf8.h"

namespace graft::formats {
namespace {

enum class Callable { kOrderedDict, kTensor, kTensorV2, kTensorV3, kParameter, kStorage, kDType };

struct Global {
  std::string_view module;
  std::string_view name;
  Callable callable;
  DType dtype = DType::kU8;  // of kStorage and kDType
};

constexpr std::array kGlobals = {
    Global{"collections", "OrderedDict", Callable::kOrderedDict},
    Global{"torch._utils", "_rebuild_tensor", Callable::kTensor},
    Global{"torch._utils", "_rebuild_tensor_v2", Callable::kTensorV2},
    Global{"torch._utils", "_rebuild_tensor_v3", Callable::kTensorV3},
    Global{"torch._utils", "_rebuild_parameter", Callable::kParameter},
    Global{"torch", "DoubleStorage", Callable::kStorage, DType::kF64},
    Global{"torch", "FloatStorage", Callable::kStorage, DType::kF32},
    Global{"torch", "HalfStorage", Callable::kStorage, DType::kF16},
    Global{"torch", "BFloat16Storage", Callable::kStorage, DType::kBF16},
    Global{"torch", "LongStorage", Callable::kStorage, DType::kI64},
    Global{"torch", "IntStorage", Callable::kStorage, DType::kI32},
    Global{"torch", "ShortStorage", Callable::kStorage, DType::kI16},
    Global{"torch", "CharStorage", Callable::kStorage, DType::kI8},
    Global{"torch", "ByteStorage", Callable::kStorage, DType::kU8},
    Global{"torch", "BoolStorage", Callable::kStorage, DType::kBool},
    Global{"torch.storage", "UntypedStorage", Callable::kStorage, DType::kU8},
    Global{"torch", "float64", Callable::kDType, DType::kF64},
    Global{"torch", "float32", Callable::kDType, DType::kF32},
    Global{"torch", "float16", Callable::kDType, DType::kF16},
    Global{"torch", "bfloat16", Callable::kDType, DType::kBF16},
    Global{"torch", "float8_e4m3fn", Callable::kDType, DType::kF8E4M3},
    Global{"torch", "float8_e5m2", Callable::kDType, DType::kF8E5M2},
    Global{"torch", "int64", Callable::kDType, DType::kI64},
    Global{"torch", "int32", Callable::kDType, DType::kI32},
    Global{"torch", "int16", Callable::kDType, DType::kI16},
    Global{"torch", "int8", Callable::kDType, DType::kI8},
    Global{"torch", "uint64", Callable::kDType, DType::kU64},
    Global{"torch", "uint32", Callable::kDType, DType::kU32},
    Global{"torch", "uint16", Callable::kDType, DType::kU16},
    Global{"torch", "uint8", Callable::kDType, DType::kU8},
    Global{"torch", "bool", Callable::kDType, DType::kBool},
};

// Values are numbered; a container holds numbers, so that the memo can share what is still being filled.
using Id = uint32_t;

enum class Kind { kNone, kBool, kInteger, kFloat, kText, kBytes, kTuple, kList, kDict, kGlobal, kStorage, kTensor };

struct Value {
  Kind kind = Kind::kNone;
  int64_t number = 0;     // kBool, kInteger; index in kGlobals; elements of a storage; index in the tensors
  std::string_view text;  // kText, kBytes; the key of a storage
  DType dtype = DType::kU8;
  std::vector<Id> items;  // kTuple, kList; kDict: key, value, key, value, ...
};

constexpr size_t kMostDimensions = 16;
constexpr size_t kLongestKey = 255;                  // torch numbers its storages
constexpr size_t kLargestPickle = size_t{64} << 20;  // a hundred thousand tensors need 20 MB

Result<size_t> find_global(std::string_view module, std::string_view name) {
  for (size_t i = 0; i < kGlobals.size(); ++i) {
    if (kGlobals[i].module == module && kGlobals[i].name == name) return i;
  }
  return unsupported("it refers to '" + printable(module) + "." + printable(name) +
                     "', which a checkpoint of plain tensors does not need, so it is not loaded; save "
                     "model.state_dict() instead of other objects, or convert the model to safetensors");
}

class Machine {
 public:
  explicit Machine(std::span<const std::byte> code) : code_(code) {}

  Result<std::vector<PickledTensor>> run() {
    while (!stopped_) {
      const size_t at = position_;
      GRAFT_TRY(const uint8_t opcode, take<uint8_t>());
      if (const Status status = step(opcode); !status.ok()) {
        return graft::at(fmt::format("byte {} of the pickle", at), status.error());
      }
    }
    if (stack_.size() != 1 || !marks_.empty() || position_ != code_.size()) {
      return invalid("the pickle does not end with one value");
    }
    return collect(stack_.back());
  }

 private:
  // ---- reading ----

  static Error cut_short() { return invalid("the pickle is cut short"); }

  template <class T>
  Result<T> take() {
    if (code_.size() - position_ < sizeof(T)) return cut_short();
    T value;
    std::memcpy(&value, code_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  Result<std::string_view> take_bytes(uint64_t length) {
    if (length > code_.size() - position_) return cut_short();
    const std::string_view bytes(reinterpret_cast<const char*>(code_.data()) + position_, length);
    position_ += length;
    return bytes;
  }

  template <class Length>
  Result<std::string_view> take_counted() {
    GRAFT_TRY(const Length length, take<Length>());
    return take_bytes(length);
  }

  Result<std::string_view> take_line() {
    const std::string_view rest(reinterpret_cast<const char*>(code_.data()) + position_, code_.size() - position_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return cut_short();
    position_ += end + 1;
    return rest.substr(0, end);
  }

  // ---- the stack ----

  Id push(Value value) {
    values_.push_back(std::move(value));
    stack_.push_back(static_cast<Id>(values_.size() - 1));
    return stack_.back();
  }

  Status push_number(Kind kind, int64_t number) {
    push({kind, number, {}, DType::kU8, {}});
    return {};
  }

  Status push_text(Kind kind, const Result<std::string_view>& text) {
    if (!text.ok()) return text.error();
    if (kind == Kind::kText && !is_valid_utf8(*text)) return invalid("a text is not valid UTF-8");
    push({kind, 0, *text, DType::kU8, {}});
    return {};
  }

  // Values above the last mark belong to what will take them.
  [[nodiscard]] size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Result<Id> pop() {
    if (stack_.size() <= floor()) return invalid("it takes a value that is not there");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }

  Result<std::vector<Id>> pop_to_mark() {
    if (marks_.empty()) return invalid("it goes back to a mark that is not there");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Id> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  Result<std::vector<Id>> pop_count(size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) {
      GRAFT_TRY(items[i], pop());
    }
    return items;
  }

  Result<Value*> top(Kind kind, const char* what) {
    if (stack_.size() <= floor()) return invalid("it takes a value that is not there");
    Value* value = &values_[stack_.back()];
    if (value->kind != kind) return invalid(std::string("it puts something into what is no ") + what);
    return value;
  }

  // ---- instructions ----

  Status step(uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        GRAFT_TRY(const uint8_t version, take<uint8_t>());
        if (version > 5) return unsupported("pickle protocol " + std::to_string(version) + " is not supported");
        return {};
      }
      case 0x95: {  // FRAME: a hint for readers from streams
        GRAFT_TRY([[maybe_unused]] const uint64_t length, take<uint64_t>());
        return {};
      }
      case '.':
        stopped_ = true;
        return {};
      case '(':
        marks_.push_back(stack_.size());
        return {};
      case '0': {
        GRAFT_TRY([[maybe_unused]] const Id id, pop());
        return {};
      }
      case '1': {
        GRAFT_TRY([[maybe_unused]] const std::vector<Id> items, pop_to_mark());
        return {};
      }
      default:
        return step_scalar(opcode);
    }
  }

  Status step_scalar(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return push_number(Kind::kNone, 0);
      case 0x88:
        return push_number(Kind::kBool, 1);
      case 0x89:
        return push_number(Kind::kBool, 0);
      case 'K':
        return push_integer<uint8_t>();
      case 'M':
        return push_integer<uint16_t>();
      case 'J':
        return push_integer<int32_t>();
      case 0x8a:
        return push_long();
      case 'G': {
        GRAFT_TRY([[maybe_unused]] const uint64_t bits, take<uint64_t>());
        return push_number(Kind::kFloat, 0);  // nothing here needs its value
      }
      case 'X':
        return push_text(Kind::kText, take_counted<uint32_t>());
      case 0x8c:
        return push_text(Kind::kText, take_counted<uint8_t>());
      case 0x8d:
        return push_text(Kind::kText, take_counted<uint64_t>());
      case 'U':
      case 'C':
        return push_text(Kind::kBytes, take_counted<uint8_t>());
      case 'T':
      case 'B':
        return push_text(Kind::kBytes, take_counted<uint32_t>());
      default:
        return step_container(opcode);
    }
  }

  template <class T>
  Status push_integer() {
    GRAFT_TRY(const T number, take<T>());
    return push_number(Kind::kInteger, number);
  }

  // Two's complement, little-endian, as many bytes as needed.
  Status push_long() {
    GRAFT_TRY(const std::string_view bytes, take_counted<uint8_t>());
    if (bytes.size() > sizeof(int64_t)) return invalid("a number is beyond 64 bits");
    uint64_t bits = !bytes.empty() && (bytes.back() & 0x80) != 0 ? UINT64_MAX : 0;
    std::memcpy(&bits, bytes.data(), bytes.size());
    return push_number(Kind::kInteger, static_cast<int64_t>(bits));
  }

  Status push_items(Kind kind, Result<std::vector<Id>> items) {
    if (!items.ok()) return items.error();
    push({kind, 0, {}, DType::kU8, std::move(items).value()});
    return {};
  }

  Status step_container(uint8_t opcode) {
    switch (opcode) {
      case ')':
        return push_items(Kind::kTuple, std::vector<Id>());
      case ']':
        return push_items(Kind::kList, std::vector<Id>());
      case '}':
        return push_items(Kind::kDict, std::vector<Id>());
      case 't':
        return push_items(Kind::kTuple, pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87:
        return push_items(Kind::kTuple, pop_count(opcode - 0x84U));
      case 'a':
        return append(Kind::kList, pop_count(1));
      case 'e':
        return append(Kind::kList, pop_to_mark());
      case 's':
        return append(Kind::kDict, pop_count(2));
      case 'u':
        return append(Kind::kDict, pop_to_mark());
      default:
        return step_memo(opcode);
    }
  }

  Status append(Kind kind, const Result<std::vector<Id>>& items) {
    if (!items.ok()) return items.error();
    GRAFT_TRY(Value* const container, top(kind, kind == Kind::kList ? "list" : "dict"));
    if (kind == Kind::kDict && items->size() % 2 != 0) return invalid("a dict's key has no value");
    container->items.insert(container->items.end(), items->begin(), items->end());
    return {};
  }

  Status step_memo(uint8_t opcode) {
    switch (opcode) {
      case 'q':
        return remember(take<uint8_t>());
      case 'r':
        return remember(take<uint32_t>());
      case 0x94:  // MEMOIZE: under the next number
        return remember(Result<size_t>(memo_.size()));
      case 'h':
        return recall(take<uint8_t>());
      case 'j':
        return recall(take<uint32_t>());
      default:
        return step_object(opcode);
    }
  }

  template <class T>
  Status remember(const Result<T>& place) {
    if (!place.ok()) return place.error();
    if (stack_.size() <= floor()) return invalid("it remembers a value that is not there");
    memo_[*place] = stack_.back();
    return {};
  }

  template <class T>
  Status recall(const Result<T>& place) {
    if (!place.ok()) return place.error();
    const auto found = memo_.find(*place);
    if (found == memo_.end()) return invalid("it recalls a value that was not remembered");
    stack_.push_back(found->second);
    return {};
  }

  Status step_object(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        GRAFT_TRY(const std::string_view module, take_line());
        GRAFT_TRY(const std::string_view name, take_line());
        return push_global(module, name);
      }
      case 0x93: {
        GRAFT_TRY(const std::vector<Id> names, pop_count(2));
        GRAFT_TRY(const std::string_view module, text_of(names[0]));
        GRAFT_TRY(const std::string_view name, text_of(names[1]));
        return push_global(module, name);
      }
      case 'Q':
        return push_storage();
      case 'R':
        return reduce();
      case 'b':
        return build();
      default:
        return unsupported(
            fmt::format("pickle instruction 0x{:02x} is not one that torch.save writes for tensors", opcode));
    }
  }

  Status push_global(std::string_view module, std::string_view name) {
    GRAFT_TRY(const size_t index, find_global(module, name));
    return push_number(Kind::kGlobal, static_cast<int64_t>(index));
  }

  Result<std::string_view> text_of(Id id) {
    if (values_[id].kind != Kind::kText) return invalid("a text is expected");
    return values_[id].text;
  }

  Result<int64_t> integer_of(Id id) {
    if (values_[id].kind != Kind::kInteger) return invalid("a whole number is expected");
    return values_[id].number;
  }

  Result<const Global*> global_of(Id id, Callable callable) {
    if (values_[id].kind == Kind::kGlobal) {
      const Global& global = kGlobals[static_cast<size_t>(values_[id].number)];
      if (global.callable == callable) return &global;
    }
    return invalid("a class of torch is expected");
  }

  // A storage is a reference to a file of the archive: ('storage', class, key, device, elements).
  Status push_storage() {
    GRAFT_TRY(const Id id, pop());
    const std::vector<Id>& items = values_[id].items;
    if (values_[id].kind != Kind::kTuple || items.size() != 5)
      return invalid("a reference to a storage must have five parts");
    GRAFT_TRY(const std::string_view tag, text_of(items[0]));
    if (tag != "storage") return invalid("a reference to something that is no storage");
    GRAFT_TRY(const Global* const type, global_of(items[1], Callable::kStorage));
    GRAFT_TRY(const std::string_view key, text_of(items[2]));
    GRAFT_TRY(const int64_t elements, integer_of(items[4]));
    if (elements < 0) return invalid("a storage of a negative size");
    if (key.size() > kLongestKey) return invalid("a storage's key is too long");
    push({Kind::kStorage, elements, key, type->dtype, {}});
    return {};
  }

  Status reduce() {
    GRAFT_TRY(const std::vector<Id> call, pop_count(2));
    if (values_[call[0]].kind != Kind::kGlobal || values_[call[1]].kind != Kind::kTuple) {
      return invalid("a call of what is no function");
    }
    const Global& global = kGlobals[static_cast<size_t>(values_[call[0]].number)];
    const std::vector<Id>& arguments = values_[call[1]].items;
    switch (global.callable) {
      case Callable::kOrderedDict:
        if (!arguments.empty()) return unsupported("an OrderedDict made of a list is not supported");
        return push_items(Kind::kDict, std::vector<Id>());
      case Callable::kTensor:
        return push_tensor(arguments, 4, std::nullopt);
      case Callable::kTensorV2:
        return push_tensor(arguments, 6, std::nullopt);
      case Callable::kTensorV3: {
        if (arguments.size() < 7) return invalid("a tensor is described by too little");
        GRAFT_TRY(const Global* const dtype, global_of(arguments[6], Callable::kDType));
        return push_tensor(arguments, 7, dtype->dtype);
      }
      case Callable::kParameter:
        if (arguments.empty() || values_[arguments[0]].kind != Kind::kTensor)
          return invalid("a parameter of no tensor");
        stack_.push_back(arguments[0]);
        return {};
      case Callable::kStorage:
      case Callable::kDType:
        break;
    }
    return invalid("a call of what is no function");
  }

  Result<std::vector<int64_t>> sizes_of(Id id) {
    const Value& tuple = values_[id];
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kMostDimensions) {
      return invalid("a tensor's sizes and strides must be tuples of at most 16 numbers");
    }
    std::vector<int64_t> sizes;
    for (const Id item : tuple.items) {
      GRAFT_TRY(const int64_t size, integer_of(item));
      if (size < 0) return invalid("a tensor's size or stride is negative");
      sizes.push_back(size);
    }
    return sizes;
  }

  // (storage, offset, sizes, strides, ...): what follows says nothing about the values.
  Status push_tensor(const std::vector<Id>& arguments, size_t fewest, std::optional<DType> dtype) {
    if (arguments.size() < fewest) return invalid("a tensor is described by too little");
    const Value& storage = values_[arguments[0]];
    if (storage.kind != Kind::kStorage) return invalid("a tensor of no storage");
    PickledTensor tensor;
    tensor.storage = storage.text;
    tensor.storage_elements = storage.number;
    tensor.storage_dtype = storage.dtype;
    tensor.dtype = dtype.value_or(storage.dtype);
    GRAFT_TRY(tensor.offset, integer_of(arguments[1]));
    GRAFT_TRY(tensor.shape, sizes_of(arguments[2]));
    GRAFT_TRY(tensor.strides, sizes_of(arguments[3]));
    if (tensor.offset < 0 || tensor.shape.size() != tensor.strides.size()) {
      return invalid("a tensor's offset, sizes or strides are impossible");
    }
    tensors_.push_back(std::move(tensor));
    return push_number(Kind::kTensor, static_cast<int64_t>(tensors_.size() - 1));
  }

  // The attributes of a state dict (its _metadata) carry no weights.
  Status build() {
    GRAFT_TRY([[maybe_unused]] const Id state, pop());
    GRAFT_TRY([[maybe_unused]] const Value* const dict, top(Kind::kDict, "state dict"));
    return {};
  }

  // ---- the result ----

  [[nodiscard]] bool has_tensors(const Value& dict) const {
    for (size_t i = 1; i < dict.items.size(); i += 2) {
      if (values_[dict.items[i]].kind == Kind::kTensor) return true;
    }
    return false;
  }

  // The dict inside that holds the weights, where this one has none itself.
  [[nodiscard]] const Value& inner(const Value& dict) const {
    for (const std::string_view wanted : {"state_dict", "model_state_dict", "model"}) {
      for (size_t i = 0; i < dict.items.size(); i += 2) {
        const Value& key = values_[dict.items[i]];
        const Value& value = values_[dict.items[i + 1]];
        if (key.kind == Kind::kText && key.text == wanted && value.kind == Kind::kDict) return value;
      }
    }
    return dict;
  }

  Result<std::vector<PickledTensor>> collect(Id id) {
    if (values_[id].kind != Kind::kDict) return invalid("the pickle holds no state dict");
    const Value& outer = values_[id];
    const Value& dict = has_tensors(outer) ? outer : inner(outer);
    std::vector<PickledTensor> result;
    std::unordered_set<std::string_view> seen;
    for (size_t i = 0; i < dict.items.size(); i += 2) {
      const Value& value = values_[dict.items[i + 1]];
      if (value.kind != Kind::kTensor) continue;
      GRAFT_TRY(const std::string_view name, text_of(dict.items[i]));
      if (!seen.insert(name).second) return invalid("tensor '" + printable(name) + "' is there twice");
      result.push_back(tensors_[static_cast<size_t>(value.number)]);
      result.back().name = name;
    }
    if (result.empty()) return invalid("the pickle holds no tensors");
    return result;
  }

  std::span<const std::byte> code_;
  size_t position_ = 0;
  bool stopped_ = false;
  std::vector<Value> values_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<size_t, Id> memo_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

Result<std::vector<PickledTensor>> read_pickled_tensors(std::span<const std::byte> pickle) {
  if (pickle.size() > kLargestPickle) return unsupported("the pickle is larger than 64 MiB");
  return Machine(pickle).run();
}

}  // namespace graft::formats
