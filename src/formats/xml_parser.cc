#include "formats/xml_parser.h"

#include <expat.h>

#include <cstring>

#include "base/strings.h"

namespace graft::formats {
namespace {

constexpr int kDepthLimit = 64;
constexpr char kSeparator = '\n';  // in no name or namespace

std::string_view local_name(const char* name) {
  const char* mark = std::strrchr(name, kSeparator);
  return mark == nullptr ? name : mark + 1;
}

}  // namespace

std::string_view XmlAttributes::get(std::string_view name) const {
  for (const char** pair = pairs_; *pair != nullptr; pair += 2) {
    if (local_name(pair[0]) == name) return pair[1];
  }
  return {};
}

bool XmlAttributes::has(std::string_view name) const { return get(name).data() != nullptr; }

// Expat is C: nothing is thrown through it. What the handlers call throws only where memory ends.
struct XmlParser::Handlers {
  static void start(void* user, const char* name, const char** attributes) noexcept {
    auto& parser = *static_cast<XmlParser*>(user);
    if (!parser.status_.ok()) return;
    if (++parser.depth_ > kDepthLimit) return parser.fail(invalid("XML nested deeper than 64 levels"));
    parser.start(local_name(name), XmlAttributes(attributes));
  }
  static void end(void* user, const char* name) noexcept {
    auto& parser = *static_cast<XmlParser*>(user);
    if (!parser.status_.ok()) return;
    --parser.depth_;
    parser.end(local_name(name));
  }
  static void text(void* user, const char* data, int size) noexcept {
    auto& parser = *static_cast<XmlParser*>(user);
    if (parser.status_.ok()) parser.text(std::string_view(data, static_cast<size_t>(size)));
  }
  static void doctype(void* user, const char* /*name*/, const char* /*system*/, const char* /*public*/,
                      int /*internal*/) noexcept {
    static_cast<XmlParser*>(user)->fail(invalid("the XML has a document type, which no workbook needs"));
  }
};

XmlParser::XmlParser() : parser_(XML_ParserCreateNS("UTF-8", kSeparator)) {
  if (parser_ == nullptr) {
    status_ = internal_error("expat cannot start: out of memory");
    return;
  }
  XML_SetUserData(parser_, this);
  XML_SetElementHandler(parser_, Handlers::start, Handlers::end);
  XML_SetCharacterDataHandler(parser_, Handlers::text);
  XML_SetStartDoctypeDeclHandler(parser_, Handlers::doctype);
}

XmlParser::~XmlParser() { XML_ParserFree(parser_); }

void XmlParser::fail(Error error) {
  if (!status_.ok()) return;
  status_ = std::move(error);
  XML_StopParser(parser_, XML_FALSE);
}

Status XmlParser::feed(std::string_view piece, bool last) {
  constexpr size_t kMost = size_t{1} << 24;  // expat counts in int
  do {
    if (!status_.ok()) return status_;
    const std::string_view part = piece.substr(0, kMost);
    piece.remove_prefix(part.size());
    const bool ends = last && piece.empty();
    if (XML_Parse(parser_, part.data(), static_cast<int>(part.size()), ends ? 1 : 0) == XML_STATUS_ERROR &&
        status_.ok()) {
      status_ = invalid("not valid XML: line " + std::to_string(XML_GetCurrentLineNumber(parser_)) + ": " +
                        XML_ErrorString(XML_GetErrorCode(parser_)));
    }
  } while (!piece.empty());
  return status_;
}

Status parse_zip_entry(const ZipEntry& entry, XmlParser& parser) {
  GRAFT_TRY(ZipEntryReader reader, ZipEntryReader::open(entry));
  std::vector<std::byte> buffer(size_t{1} << 15);
  while (true) {
    auto got = reader.read(buffer);
    if (!got.ok()) return at(printable(entry.name), got.error());
    const std::string_view piece(reinterpret_cast<const char*>(buffer.data()), *got);
    if (const Status status = parser.feed(piece, piece.empty()); !status.ok()) {
      return at(printable(entry.name), status.error());
    }
    if (piece.empty()) return {};
  }
}

}  // namespace graft::formats
