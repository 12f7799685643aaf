#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::chart {

using NamedValues = std::vector<std::pair<std::string, std::string>>;

// Pieces of a report. Every text is escaped here; `body` of page() is HTML.
std::string html_escape(std::string_view text);
std::string tiles(const NamedValues& values);  // the few numbers that matter
std::string table_section(const std::string& heading, const NamedValues& values);

// One HTML page without any external resource, light and dark by the reader's preference. `remark` is what a reader
// must know about the result; it may be empty.
std::string page(const std::string& title, const std::string& outcome, const std::string& remark,
                 const std::string& body);

}  // namespace graft::chart
