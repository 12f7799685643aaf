# Finds Arrow C++ inside the project's Python environment: the PyPI wheel of pyarrow carries the headers and the
# libraries. They are built with the C++11 ABI and bring everything but libstdc++ with them.
#
#   GRAFT_VENV        the environment that holds the wheel
#   Arrow::arrow      core, IPC and file systems
#   Arrow::parquet    Parquet
#   ARROW_S3_LIBRARY  the file system for s3://, which is loaded at run time
find_program(GRAFT_PYTHON python3 HINTS "${GRAFT_VENV}/bin" NO_DEFAULT_PATH)
if(NOT GRAFT_PYTHON)
  message(FATAL_ERROR "no python3 in ${GRAFT_VENV}: run scripts/setup.sh first")
endif()
if(NOT ARROW_DIR)
  execute_process(
    COMMAND "${GRAFT_PYTHON}" -c "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
    OUTPUT_VARIABLE ARROW_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE arrow_rc ERROR_QUIET)
  if(NOT arrow_rc EQUAL 0)
    message(FATAL_ERROR "pyarrow is not installed in ${GRAFT_VENV}: run scripts/setup.sh first")
  endif()
  set(ARROW_DIR "${ARROW_DIR}" CACHE PATH "the installed pyarrow package")
endif()

# libarrow.so.2600: the wheel has the files with their version only.
foreach(name arrow parquet arrow_s3)
  file(GLOB arrow_${name} "${ARROW_DIR}/lib${name}.so.*")
  if(NOT arrow_${name})
    message(FATAL_ERROR "no lib${name} in ${ARROW_DIR}: the pyarrow wheel is not the one that requirements.txt pins")
  endif()
  list(GET arrow_${name} 0 arrow_${name})
endforeach()
set(ARROW_S3_LIBRARY "${arrow_arrow_s3}")

foreach(name arrow parquet)
  add_library(Arrow::${name} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(Arrow::${name} PROPERTIES IMPORTED_LOCATION "${arrow_${name}}")
  target_include_directories(Arrow::${name} SYSTEM INTERFACE "${ARROW_DIR}/include")
endforeach()
