#include "chart/page.h"

#include <fmt/format.h>

#include "chart/page_style.h"

namespace graft::chart {
namespace {

std::string table(const NamedValues& values) {
  std::string html = "<table>";
  for (const auto& [name, value] : values) {
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", html_escape(name), html_escape(value));
  }
  return html + "</table>";
}

}  // namespace

std::string tiles(const NamedValues& values) {
  std::string html;
  for (const auto& [name, value] : values) {
    html += fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>", html_escape(value), html_escape(name));
  }
  return html.empty() ? "" : "<div class=\"tiles\">" + html + "</div>\n";
}

std::string table_section(const std::string& heading, const NamedValues& values) {
  if (values.empty()) return "";
  return fmt::format("<section><h2>{}</h2>{}</section>\n", html_escape(heading), table(values));
}

std::string page(const std::string& title, const std::string& outcome, const std::string& remark,
                 const std::string& body) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n"
      "<header><h1>{}</h1><p class=\"outcome\">{}</p>",
      html_escape(title), kPageStyle, html_escape(title), html_escape(outcome));
  if (!remark.empty()) html += fmt::format("<p class=\"remark\">{}</p>", html_escape(remark));
  return html + "</header>\n" + body +
         "<footer>Written by graft. The page has no external resources.</footer>\n</main>\n</body>\n</html>\n";
}

std::string html_escape(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace graft::chart
