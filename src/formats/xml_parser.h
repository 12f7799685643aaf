#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "formats/zip.h"

struct XML_ParserStruct;

namespace graft::formats {

// The attributes of an element under their local names ("id" for r:id).
class XmlAttributes {
 public:
  explicit XmlAttributes(const char** pairs) : pairs_(pairs) {}
  [[nodiscard]] std::string_view get(std::string_view name) const;  // empty where there is none
  [[nodiscard]] bool has(std::string_view name) const;

 private:
  const char** pairs_;
};

// XML (expat) in pieces: a base class for what makes something of the elements. Names come without their namespaces.
// Document types are refused, and with them every entity of a file's own; nesting is bounded.
class XmlParser {
 public:
  XmlParser();
  virtual ~XmlParser();
  XmlParser(const XmlParser&) = delete;
  XmlParser& operator=(const XmlParser&) = delete;

  Status feed(std::string_view piece, bool last);
  Status parse(std::string_view document) { return feed(document, true); }

 protected:
  virtual void start(std::string_view name, const XmlAttributes& attributes) = 0;
  virtual void end(std::string_view name) = 0;
  virtual void text(std::string_view /*piece*/) {}

  void fail(Error error);  // ends the parsing; the first one counts

 private:
  struct Handlers;
  XML_ParserStruct* parser_;
  Status status_;
  int depth_ = 0;
};

// Feeds the content of an archive's entry in pieces: bounded memory.
Status parse_zip_entry(const ZipEntry& entry, XmlParser& parser);

}  // namespace graft::formats
