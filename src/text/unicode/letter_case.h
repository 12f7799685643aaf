#pragma once

namespace graft::text {

// The lower case of one character without its context, as Rust's char::to_lowercase has it: one character, or two, of
// which the second is 0 otherwise.
struct LowerCase {
  char32_t first = 0;
  char32_t second = 0;
};
LowerCase lower_case(char32_t c);

bool is_combining_mark(char32_t c);  // what StripAccents removes

// The script of a character for the pre-tokenizer UnicodeScripts: a number; 0 where it may stand beside any script.
unsigned script_of(char32_t c);

}  // namespace graft::text
