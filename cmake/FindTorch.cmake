# Finds libtorch inside the project's Python environment (the PyPI wheel).
# The wheel's own config insists on a CUDA toolkit for CUDA builds, so we link just what we use:
# c10, torch_cpu, torch_cuda where it is there, and the libgomp that the wheel bundles, whose team our own thread pool
# keeps quiet: a second OpenMP runtime in the process would start a team of its own.
#
#   GRAFT_VENV     the environment that holds the wheel
#   Torch::torch   the target
find_program(GRAFT_PYTHON python3 HINTS "${GRAFT_VENV}/bin" NO_DEFAULT_PATH)
if(NOT GRAFT_PYTHON)
  message(FATAL_ERROR "no python3 in ${GRAFT_VENV}: run scripts/setup.sh first")
endif()
if(NOT TORCH_DIR)
  execute_process(
    COMMAND "${GRAFT_PYTHON}" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE torch_rc ERROR_QUIET)
  if(NOT torch_rc EQUAL 0)
    message(FATAL_ERROR "torch is not installed in ${GRAFT_VENV}: run scripts/setup.sh first")
  endif()
  set(TORCH_DIR "${TORCH_DIR}" CACHE PATH "the installed torch package")
endif()

file(GLOB torch_gomp "${TORCH_DIR}/lib/libgomp*.so*" "${TORCH_DIR}/../torch.libs/libgomp*.so*")
if(NOT torch_gomp)
  message(FATAL_ERROR "no libgomp beside the torch wheel in ${TORCH_DIR}")
endif()
list(GET torch_gomp 0 torch_gomp)
get_filename_component(torch_gomp_dir "${torch_gomp}" DIRECTORY)

add_library(Torch::gomp UNKNOWN IMPORTED GLOBAL)
set_target_properties(Torch::gomp PROPERTIES IMPORTED_LOCATION "${torch_gomp}")

# The wheel carries headers of another fmt than the one we link: ours must be found first.
find_path(graft_fmt_include fmt/format.h PATHS /usr/include NO_DEFAULT_PATH REQUIRED)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/include-first")
file(CREATE_LINK "${graft_fmt_include}/fmt" "${CMAKE_BINARY_DIR}/include-first/fmt" SYMBOLIC)

add_library(Torch::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(Torch::torch SYSTEM INTERFACE
  "${CMAKE_BINARY_DIR}/include-first"
  "${TORCH_DIR}/include" "${TORCH_DIR}/include/torch/csrc/api/include")
target_compile_definitions(Torch::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_directories(Torch::torch INTERFACE "${TORCH_DIR}/lib" "${torch_gomp_dir}")
target_link_libraries(Torch::torch INTERFACE
  "${TORCH_DIR}/lib/libtorch_cpu.so" "${TORCH_DIR}/lib/libc10.so" Torch::gomp)
if(EXISTS "${TORCH_DIR}/lib/libtorch_cuda.so")
  # The CUDA library registers its kernels when it is loaded, so it must be linked though no symbol of it is named.
  target_link_libraries(Torch::torch INTERFACE
    -Wl,--no-as-needed "${TORCH_DIR}/lib/libtorch_cuda.so" "${TORCH_DIR}/lib/libc10_cuda.so" -Wl,--as-needed)
endif()
target_link_options(Torch::torch INTERFACE "-Wl,-rpath,${TORCH_DIR}/lib" "-Wl,-rpath,${torch_gomp_dir}")
