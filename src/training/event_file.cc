#include "training/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>

#include "base/crc32c.h"
#include "base/file_errors.h"
#include "training/append_whole.h"

namespace graft::training {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

template <class T>
void put_bytes(std::string& out, T value) {  // little-endian, as this machine is
  static_assert(std::endian::native == std::endian::little);
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  out.append(bytes.data(), bytes.size());
}

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, uint32_t field, WireType type) { put_varint(out, field << 3 | type); }

void put_text(std::string& out, uint32_t field, std::string_view text) {
  put_key(out, field, kBytes);
  put_varint(out, text.size());
  out += text;
}

std::string event(double time, int64_t step) {
  std::string out;
  put_key(out, 1, kFixed64);
  put_bytes(out, time);
  put_key(out, 2, kVarint);
  put_varint(out, static_cast<uint64_t>(step));
  return out;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

std::string framed(std::string_view message) {
  std::string length;
  put_bytes(length, static_cast<uint64_t>(message.size()));
  std::string out = length;
  put_bytes(out, masked_crc(length));
  out += message;
  put_bytes(out, masked_crc(message));
  return out;
}

// The seconds in the name of the newest event file; readers take the files in the order of their names.
int64_t newest_seconds(const fs::path& directory) {
  int64_t newest = 0;
  std::error_code error;
  fs::directory_iterator walk(directory, error);
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    const std::string name = walk->path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t seconds = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
    newest = std::max(newest, seconds);
  }
  return newest;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

Result<EventFile> EventFile::create(const fs::path& directory, double time) {
  GRAFT_CHECK_OK(make_directories(directory));
  const int64_t seconds = std::max(static_cast<int64_t>(time), newest_seconds(directory) + 1);
  fs::path path = directory / fmt::format("{}{:010}.{}.{}.0", kPrefix, seconds, host_name(), ::getpid());
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return system_error("cannot create", path, errno);
  EventFile file(std::move(path), descriptor);
  std::string version = event(time, 0);
  put_text(version, 3, "brain.Event:2");
  GRAFT_CHECK_OK(file.append(version));
  return file;
}

EventFile::EventFile(EventFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status EventFile::add_scalars(int64_t step, double time, std::span<const std::pair<std::string, double>> scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;
    put_text(entry, 1, tag);
    put_key(entry, 2, kFixed32);
    put_bytes(entry, static_cast<float>(value));
    put_text(summary, 1, entry);
  }
  std::string message = event(time, step);
  put_text(message, 5, summary);
  return append(message);
}

Status EventFile::add_restart(int64_t step, double time) {
  constexpr uint64_t kStart = 1;
  std::string log;
  put_key(log, 1, kVarint);
  put_varint(log, kStart);
  std::string message = event(time, step);
  put_text(message, 7, log);
  return append(message);
}

Status EventFile::append(std::string_view message) { return append_whole(descriptor_, size_, framed(message), path_); }

}  // namespace graft::training
