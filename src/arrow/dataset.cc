// Parquet and Arrow IPC files as rows.
#include "formats/dataset.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <functional>
#include <set>

#include "arrow/arrow_status.h"
#include "arrow/cells.h"
#include "base/files.h"
#include "base/utf8.h"
#include "formats/dataset_readers.h"

namespace graft::arrow_library {
namespace {

using formats::DatasetOptions;
using formats::DatasetReader;
using formats::DatasetRow;
using Batch = std::shared_ptr<::arrow::RecordBatch>;

// What is read and decoded at a time. Within it, Parquet holds a page a column.
constexpr int64_t kBatchRows = 1024;

// A file is input of unknown origin: what it claims to need is bounded by what it is.
int64_t memory_limit(int64_t file_size) {
  constexpr int64_t kBase = int64_t{1} << 30;
  return kBase + 16 * std::min<int64_t>(file_size, int64_t{1} << 50);
}

class BatchReader final : public DatasetReader {
 public:
  BatchReader(fs::path path, const DatasetOptions& options) : path_(std::move(path)), options_(options) {}

  Status open() {
    GRAFT_ARROW_TRY(file_, ::arrow::io::ReadableFile::Open(path_.string(), ::arrow::system_memory_pool()));
    GRAFT_ARROW_TRY(const int64_t size, file_->GetSize());
    pool_ = std::make_unique<::arrow::CappedMemoryPool>(::arrow::system_memory_pool(), memory_limit(size));
    GRAFT_ARROW_TRY(const auto head, file_->ReadAt(0, 8));
    const std::string_view magic(*head);
    if (magic.starts_with("PAR1")) return open_parquet();
    if (magic.starts_with("PARE")) return unsupported("the Parquet file is encrypted; write it without encryption");
    if (magic.starts_with("FEA1"))
      return unsupported("Feather version 1; write the file again as version 2 (Arrow IPC)");
    if (magic.starts_with("ARROW1")) return open_ipc_file();
    if (path_.extension() == ".parquet") return invalid("not a Parquet file; it may be cut short or named wrongly");
    return open_ipc_stream();
  }

  Result<std::optional<DatasetRow>> next() override try {
    auto row = next_row();
    if (!row.ok()) return at(path_.string() + ": row " + std::to_string(rows_ + 1), row.error());
    return row;
  } catch (const std::exception& error) {
    return invalid(path_.string() + ": row " + std::to_string(rows_ + 1) + ": " + printable(error.what(), 300));
  }

 private:
  Status open_parquet() {
    parquet::ReaderProperties properties(pool_.get());
    properties.enable_buffered_stream();  // pages are read as they are needed, not a column of a row group at once
    properties.set_buffer_size(int64_t{1} << 20);
    parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
    arrow_properties.set_batch_size(kBatchRows);
    arrow_properties.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    GRAFT_ARROW_OK(builder.Open(file_, properties));
    GRAFT_ARROW_TRY(parquet_, builder.memory_pool(pool_.get())->properties(arrow_properties)->Build());
    GRAFT_ARROW_TRY(std::shared_ptr<::arrow::RecordBatchReader> batches, parquet_->GetRecordBatchReader());
    GRAFT_CHECK_OK(read_schema(*batches->schema()));
    next_batch_ = [batches] { return batches->Next(); };
    return {};
  }

  ::arrow::ipc::IpcReadOptions ipc_options() const {
    auto options = ::arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool_.get();
    options.use_threads = false;
    return options;
  }

  Status open_ipc_file() {
    GRAFT_ARROW_TRY(const auto reader, ::arrow::ipc::RecordBatchFileReader::Open(file_, ipc_options()));
    GRAFT_CHECK_OK(read_schema(*reader->schema()));
    next_batch_ = [reader, i = 0]() mutable -> ::arrow::Result<Batch> {
      if (i >= reader->num_record_batches()) return Batch();
      return reader->ReadRecordBatch(i++);
    };
    return {};
  }

  Status open_ipc_stream() {
    GRAFT_ARROW_OK(file_->Seek(0));
    GRAFT_ARROW_TRY(const auto reader, ::arrow::ipc::RecordBatchStreamReader::Open(file_, ipc_options()));
    GRAFT_CHECK_OK(read_schema(*reader->schema()));
    next_batch_ = [reader] { return reader->Next(); };
    return {};
  }

  Status read_schema(const ::arrow::Schema& schema) {
    std::set<std::string> seen;
    for (const std::string& name : schema.field_names()) {
      if (!is_valid_utf8(name)) return invalid("a column's name is not valid UTF-8");
      if (!seen.insert(name).second) return invalid("column '" + printable(name) + "' is named twice");
      names_.push_back(name);
    }
    if (names_.empty()) return invalid("no columns");
    return {};
  }

  Result<std::optional<DatasetRow>> next_row() {
    while (!batch_ || position_ == batch_->num_rows()) {
      GRAFT_ARROW_TRY(batch_, next_batch_());
      if (!batch_) return std::optional<DatasetRow>();
      GRAFT_ARROW_OK(batch_->ValidateFull());
      if (static_cast<size_t>(batch_->num_columns()) != names_.size()) return invalid("a batch with other columns");
      position_ = 0;
    }
    DatasetRow row{rows_ + 1, 0, nlohmann::ordered_json::object()};
    auto& columns = row.columns.get_ref<nlohmann::ordered_json::object_t&>();
    columns.reserve(names_.size());
    size_t room = options_.row_limit;
    for (size_t i = 0; i < names_.size(); ++i) {
      auto value = read_cell(*batch_->column(static_cast<int>(i)), position_, room);
      if (!value.ok()) return at("column '" + printable(names_[i]) + "'", value.error());
      columns.emplace_back(names_[i], std::move(*value));
    }
    ++position_;
    ++rows_;
    return std::optional(std::move(row));
  }

  fs::path path_;
  DatasetOptions options_;
  std::unique_ptr<::arrow::MemoryPool> pool_;  // outlives what allocates from it
  std::shared_ptr<::arrow::io::ReadableFile> file_;
  std::unique_ptr<parquet::arrow::FileReader> parquet_;
  std::function<::arrow::Result<Batch>()> next_batch_;  // null at the end
  std::vector<std::string> names_;
  Batch batch_;
  int64_t position_ = 0;  // in the batch
  int64_t rows_ = 0;      // that came before
};

Result<std::unique_ptr<DatasetReader>> open_dataset(const fs::path& path, const DatasetOptions& options) try {
  auto reader = std::make_unique<BatchReader>(path, options);
  std::error_code error;
  if (!fs::exists(path, error)) return not_found("cannot read " + path.string() + ": No such file or directory");
  const Status status = reader->open();
  if (!status.ok()) return at(path.string(), status.error());
  return std::unique_ptr<DatasetReader>(std::move(reader));
} catch (const std::exception& error) {
  return invalid(path.string() + ": " + printable(error.what(), 300));
}

}  // namespace
}  // namespace graft::arrow_library

extern "C" __attribute__((visibility("default"))) void graft_arrow_open_dataset(
    const std::filesystem::path& path, const graft::formats::DatasetOptions& options,
    graft::Result<std::unique_ptr<graft::formats::DatasetReader>>& reader) {
  reader = graft::arrow_library::open_dataset(path, options);
}
