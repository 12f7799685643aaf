# Builds XGrammar, which compiles JSON schemas, regular expressions and grammars into masks of tokens, from the source
# that scripts/setup.sh unpacked. Its own CMakeLists.txt is not used: it sets flags of its own (-Werror, -flto) and builds
# Python bindings by default.
#
#   GRAFT_VENV          XGrammar's source lies beside this environment, in .cache/xgrammar
#   XGrammar::xgrammar  a static library
#
# Three things are ours. Its log goes to functions of src/grammar instead of stderr (XGRAMMAR_LOG_CUSTOMIZE). It calls
# src/grammar/work_budget.h where its loops turn, so that a grammar that takes too long can be given up: it has no such
# limit itself. And warnings are off, for it is not our code.
cmake_path(GET GRAFT_VENV PARENT_PATH xgrammar_root)
set(XGRAMMAR_SOURCE "${xgrammar_root}/.cache/xgrammar" CACHE PATH "XGrammar's source")
if(NOT EXISTS "${XGRAMMAR_SOURCE}/include/xgrammar/xgrammar.h")
  message(FATAL_ERROR "no XGrammar in ${XGRAMMAR_SOURCE}: run scripts/setup.sh first")
endif()

# Copies FILE into the build, with a checkpoint behind each of the lines.
function(xgrammar_checkpoints file)
  file(READ "${XGRAMMAR_SOURCE}/cpp/${file}" text)
  foreach(line IN LISTS ARGN)
    string(FIND "${text}" "${line}" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "XGrammar's ${file} has no '${line}': it is not the version that scripts/setup.sh pins")
    endif()
    string(REPLACE "${line}" "${line} ::graft::grammar::checkpoint();" text "${text}")
  endforeach()
  set(copy "${CMAKE_BINARY_DIR}/xgrammar/${file}")
  set(before "")
  if(EXISTS "${copy}")
    file(READ "${copy}" before)
  endif()
  if(NOT before STREQUAL text)
    file(WRITE "${copy}" "${text}")
  endif()
endfunction()

xgrammar_checkpoints(earley_parser.cc
  "bool EarleyParser::Advance(const uint8_t ch, bool debug_print) {"
  "while (!tmp_process_state_queue_.empty()) {")

file(GLOB xgrammar_sources "${XGRAMMAR_SOURCE}/cpp/*.cc" "${XGRAMMAR_SOURCE}/cpp/*/*.cc")
list(FILTER xgrammar_sources EXCLUDE REGEX "/cpp/(tvm_ffi/.*|earley_parser\\.cc)$")
add_library(xgrammar STATIC ${xgrammar_sources} "${CMAKE_BINARY_DIR}/xgrammar/earley_parser.cc")
add_library(XGrammar::xgrammar ALIAS xgrammar)
set_target_properties(xgrammar PROPERTIES CXX_STANDARD 17)
target_include_directories(xgrammar SYSTEM PUBLIC "${XGRAMMAR_SOURCE}/include" "${XGRAMMAR_SOURCE}/3rdparty/dlpack/include"
  "${XGRAMMAR_SOURCE}/3rdparty/picojson")
target_include_directories(xgrammar PRIVATE "${XGRAMMAR_SOURCE}/cpp")
target_compile_definitions(xgrammar PRIVATE XGRAMMAR_LOG_CUSTOMIZE=1 XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0)
target_compile_options(xgrammar PRIVATE -w -include "${PROJECT_SOURCE_DIR}/src/grammar/work_budget.h")
