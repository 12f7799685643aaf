#include "recipe/encoded_rows.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/checksum.h"
#include "base/file_errors.h"
#include "base/files.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::json;

constexpr size_t kSumDigits = 16;
constexpr const char* kJournal = "journal";
constexpr uint64_t kMostJournal = uint64_t{1} << 30;

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

// The counters, by their names in the journal.
template <typename State, typename Visit>
void each_counter(State& state, const Visit& visit) {
  visit("rows", state.rows);
  visit("records", state.records);
  visit("sampled_out", state.sampled_out);
  visit("truncated", state.truncated);
  visit("cut", state.cut);
  visit("dropped", state.dropped);
  visit("invalid", state.invalid);
  visit("longest", state.longest);
  visit("candidates", state.candidates);
  visit("candidate_bytes", state.candidate_bytes);
}

Json to_json(const StoredPrompt& stored) {
  return {{"record", stored.record},        {"split", static_cast<int>(stored.split)},
          {"row", stored.prompt.row},       {"tokens", stored.prompt.tokens},
          {"prompt", stored.prompt.prompt}, {"reference", stored.prompt.reference}};
}

StoredPrompt prompt_from(const Json& json) {
  StoredPrompt stored;
  stored.record = json.at("record").get<int64_t>();
  stored.split = static_cast<Split>(json.at("split").get<int>());
  stored.prompt.row = json.at("row").get<int64_t>();
  stored.prompt.tokens = json.at("tokens").get<std::vector<int32_t>>();
  stored.prompt.prompt = json.at("prompt").get<std::string>();
  stored.prompt.reference = json.at("reference").get<std::string>();
  return stored;
}

template <typename Values>
Json tail_of(const Values& values, size_t written) {
  Json tail = Json::array();
  for (size_t i = written; i < values.size(); ++i) tail.push_back(values[i]);
  return tail;
}

void append_names(const Json& names, std::vector<std::string>& to) {
  for (const Json& name : names) to.push_back(name.get<std::string>());
}

}  // namespace

Result<EncodedRows> EncodedRows::unnamed() {
  GRAFT_TRY(ExampleFile file, ExampleFile::unnamed());
  return EncodedRows(std::move(file));
}

Result<EncodedRows> EncodedRows::open(const std::filesystem::path& directory, const Warn& warn) {
  GRAFT_CHECK_OK(make_directories(directory));
  GRAFT_TRY(ExampleFile file, ExampleFile::open(directory));
  EncodedRows rows(std::move(file));
  rows.directory_ = directory;
  const std::filesystem::path path = directory / kJournal;
  rows.journal_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (rows.journal_ < 0) return system_error("cannot open", path, errno);
  GRAFT_TRY(const std::string journal, read_file(path, kMostJournal));
  const bool was_finished = journal.ends_with("}\n") && journal.find("{\"finished\":") != std::string::npos;
  if (rows.load(journal) == Loaded::kDamaged) {
    warn(directory.string() + ": prepared examples are damaged; what is damaged is made again");
    if (was_finished) {
      // Others may be reading these very files: they keep them, and new ones take their names.
      GRAFT_CHECK_OK(rows.discard());
      return open(directory, warn);
    }
  }
  if (!rows.finished()) {
    GRAFT_CHECK_OK(rows.file_.cut_at_end());
    if (::ftruncate(rows.journal_, rows.journal_bytes_) != 0) return system_error("cannot write", path, errno);
  }
  return rows;
}

EncodedRows::EncodedRows(EncodedRows&& other) noexcept
    : directory_(std::move(other.directory_)),
      file_(std::move(other.file_)),
      state_(std::move(other.state_)),
      digest_(std::move(other.digest_)),
      journal_(std::exchange(other.journal_, -1)),
      journal_bytes_(other.journal_bytes_),
      rows_written_(other.rows_written_),
      labels_written_(other.labels_written_),
      groups_written_(other.groups_written_),
      prompts_written_(other.prompts_written_) {}

EncodedRows::~EncodedRows() {
  if (journal_ >= 0) ::close(journal_);
}

// A last line that is not whole is what a killed process leaves; anything else that does not fit is damage.
EncodedRows::Loaded EncodedRows::load(const std::string& journal) {
  size_t begin = 0;
  for (size_t end = journal.find('\n'); end != std::string::npos; end = journal.find('\n', begin)) {
    const auto applied = apply(journal.substr(begin, end - begin));
    if (!applied.ok() || !*applied) return Loaded::kDamaged;
    begin = end + 1;
    journal_bytes_ = static_cast<int64_t>(begin);
    mark_written();
  }
  return Loaded::kWhole;
}

Result<bool> EncodedRows::apply(const std::string& line) {
  if (finished() || line.size() < kSumDigits + 1) return false;
  const std::string text = line.substr(kSumDigits + 1);
  if (line.substr(0, kSumDigits) != hex(checksum64(text))) return false;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return false;
  try {
    if (json.contains("finished")) {
      digest_ = json["finished"].get<std::string>();
      return true;
    }
    const ExampleFile::Extent to = {json.at("examples").get<int64_t>(), json.at("bytes").get<int64_t>()};
    GRAFT_TRY(const uint64_t sum, file_.checksum(file_.end(), to));
    if (hex(sum) != json.at("sum").get<std::string>()) return false;
    file_.extend_to(to);
    each_counter(state_, [&](const char* name, int64_t& counter) { counter = json.at(name).get<int64_t>(); });
    state_.shape = static_cast<RowShape>(json.at("shape").get<int>());
    state_.stratified = json.at("stratified").get<bool>();
    state_.invalid_reasons = json.at("invalid_reasons").get<std::map<std::string, int64_t>>();
    state_.first_invalid = json.at("first_invalid").get<std::string>();
    append_names(json.at("labels"), state_.labels);
    append_names(json.at("groups"), state_.groups);
    for (const Json& prompt : json.at("prompts")) state_.prompts.push_back(prompt_from(prompt));
  } catch (const Json::exception&) {
    return false;  // its checksum holds, so another version wrote it
  }
  return true;
}

void EncodedRows::mark_written() {
  rows_written_ = state_.rows;
  labels_written_ = state_.labels.size();
  groups_written_ = state_.groups.size();
  prompts_written_ = state_.prompts.size();
}

Status EncodedRows::append_line(const std::string& json) {
  if (journal_ < 0) return {};
  const std::string line = hex(checksum64(json)) + " " + json + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(journal_, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot write", directory_ / kJournal, errno);
    done += static_cast<size_t>(count);
  }
  journal_bytes_ += static_cast<int64_t>(line.size());
  return {};
}

Status EncodedRows::commit() {
  if (state_.rows == rows_written_) return {};
  GRAFT_TRY(const uint64_t sum, file_.flush());
  Json json = {{"sum", hex(sum)},
               {"examples", file_.end().examples},
               {"bytes", file_.end().bytes},
               {"shape", static_cast<int>(state_.shape)},
               {"stratified", state_.stratified},
               {"invalid_reasons", state_.invalid_reasons},
               {"first_invalid", state_.first_invalid},
               {"labels", tail_of(state_.labels, labels_written_)},
               {"groups", tail_of(state_.groups, groups_written_)},
               {"prompts", Json::array()}};
  each_counter(state_, [&](const char* name, const int64_t& counter) { json[name] = counter; });
  for (size_t i = prompts_written_; i < state_.prompts.size(); ++i)
    json["prompts"].push_back(to_json(state_.prompts[i]));
  mark_written();
  if (journal_ < 0) return {};
  return append_line(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Status EncodedRows::finish(const std::string& digest) {
  GRAFT_CHECK_OK(commit());
  digest_ = digest;
  if (journal_ < 0) return {};
  GRAFT_CHECK_OK(file_.sync());
  if (::fsync(journal_) != 0) return system_error("cannot write", directory_ / kJournal, errno);
  GRAFT_CHECK_OK(append_line(Json({{"finished", digest}}).dump()));
  if (::fsync(journal_) != 0) return system_error("cannot write", directory_ / kJournal, errno);
  return fsync_directory(directory_);
}

Status EncodedRows::discard() { return directory_.empty() ? Status() : remove_tree(directory_); }

}  // namespace graft::recipe
