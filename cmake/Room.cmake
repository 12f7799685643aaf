# graft_room(NAME [DEPENDS rooms...] [LIBS targets...] [TEST_LIBS targets...])
#
# A room is a static library graft_NAME of every .cc in its folder. Files named *_test.cc beside them become one
# GoogleTest program, NAME_test. A room sees only the rooms it lists: that is how the table in docs/architecture.md
# is enforced. Tests whose name has "Slow" in it get the label slow, all others fast.
include(GoogleTest)
function(graft_room name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBS;TEST_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz|main)\\.cc$")
  set(target graft_${name})
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE graft_warnings)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} "${PROJECT_SOURCE_DIR}/src")
  list(TRANSFORM arg_DEPENDS PREPEND graft_)
  target_link_libraries(${target} ${scope} ${arg_DEPENDS} ${arg_LIBS})
  if(tests AND GRAFT_BUILD_TESTS)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${target} ${arg_TEST_LIBS} graft_warnings GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE
      GRAFT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" GRAFT_PYTHON="${GRAFT_VENV}/bin/python3")
    gtest_discover_tests(${name}_test TEST_FILTER "-*Slow*" DISCOVERY_MODE PRE_TEST
      PROPERTIES LABELS "fast" TIMEOUT 300)
    gtest_discover_tests(${name}_test TEST_FILTER "*Slow*" DISCOVERY_MODE PRE_TEST TEST_LIST ${name}_slow_tests
      PROPERTIES LABELS "slow" TIMEOUT 900)
  endif()
endfunction()
