#pragma once

#include <string_view>

// Python's str.isalpha(), str.isdigit() and so on, over valid UTF-8.
namespace graft::text::jinja {

bool is_alpha_text(std::string_view text);
bool is_alnum_text(std::string_view text);
bool is_decimal_text(std::string_view text);
bool is_digit_text(std::string_view text);
bool is_numeric_text(std::string_view text);
bool is_space_text(std::string_view text);
bool is_upper_text(std::string_view text);
bool is_lower_text(std::string_view text);
bool is_title_text(std::string_view text);
bool is_ascii_text(std::string_view text);
bool is_printable_text(std::string_view text);
bool is_identifier_text(std::string_view text);

bool is_upper_character(char32_t c);
bool is_lower_character(char32_t c);
bool is_printable_character(char32_t c);

}  // namespace graft::text::jinja
